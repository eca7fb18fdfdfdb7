import { mulberry32 } from '#lib/kernel/random.ts';
import { compile } from '../engine.ts';
import { GraphBuilder, sizeOf, type Value } from '../graph/onnx-model.ts';
import { linear } from '../graph/ops/linear.ts';
import { reshape } from '../graph/ops/shape.ts';
import { Tape } from '../graph/tape.ts';

export interface GradientCheck {
  /** max |analytic - numeric| over all elements, divided by the largest |numeric|. */
  readonly worstRelativeError: number;
  /** Largest numeric derivative: 0 would mean that nothing was checked. */
  readonly largestDerivative: number;
  readonly elements: number;
}

/** Test support: a step wide enough for 32-bit rounding and narrow enough for smooth functions. */
const STEP = 1e-2;

/**
 * Compares the gradients that the tape emits with central differences of the same graph, for every element of every
 * input. The loss is a fixed random projection of the output of `build`, so that no direction is favoured.
 */
export async function checkGradients(
  shapes: Readonly<Record<string, readonly number[]>>,
  build: (tape: Tape, inputs: Readonly<Record<string, Value>>) => Value,
  seed = 1,
): Promise<GradientCheck> {
  const random = mulberry32(seed);
  const draw = (count: number): number[] => Array.from({ length: count }, () => random.next() * 2 - 1);
  const tape = new Tape(new GraphBuilder());
  const names = Object.keys(shapes);
  const inputs: Record<string, Value> = {};
  const memory: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    inputs[name] = tape.track(tape.graph.input(name, 'float32', shape));
    memory[name] = Float32Array.from(draw(sizeOf(shape)));
  }
  const y = build(tape, inputs);
  const size = sizeOf(y.shape);
  const projection = tape.graph.floats(draw(size), [size, 1]);
  const loss = reshape(tape, linear(tape, reshape(tape, y, [1, size]), projection), [1]);
  const gradients = tape.gradients(loss, Object.values(inputs));
  tape.graph.output('loss', loss);
  names.forEach((name, index) => tape.graph.output(`gradient.${name}`, gradients[index] ?? loss));
  const program = await compile(tape.graph, { inputs: memory }, { threads: 1 });

  await program.run();
  const analytic = names.flatMap((name) => [...program.output(`gradient.${name}`)]);
  const numeric: number[] = [];
  for (const name of names) {
    const data = memory[name] ?? new Float32Array();
    for (let index = 0; index < data.length; index += 1) {
      const kept = data[index] ?? 0;
      const lossAt = async (value: number): Promise<number> => {
        data[index] = value;
        await program.run();
        return program.output('loss')[0] ?? Number.NaN;
      };
      const difference = (await lossAt(kept + STEP)) - (await lossAt(kept - STEP));
      data[index] = kept;
      numeric.push(difference / (2 * STEP));
    }
  }
  await program.release();
  const largest = Math.max(...numeric.map(Math.abs));
  const worst = Math.max(...numeric.map((value, index) => Math.abs(value - (analytic[index] ?? Number.NaN))));
  return { worstRelativeError: worst / largest, largestDerivative: largest, elements: numeric.length };
}
