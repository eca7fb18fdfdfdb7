import { invariant } from '#lib/kernel/errors.ts';
import { compile, type EngineOptions, type Program, type TensorData } from '../engine.ts';
import { GraphBuilder, type Value } from '../graph/onnx-model.ts';
import { Tape } from '../graph/tape.ts';
import type { Gpt2Weights } from '../model/gpt2.ts';
import { graphWeights, type Model, trainableTensors, weightInputs } from '../model/weights.ts';
import { DropoutMasks } from './dropout.ts';

/** A graph under construction whose loss will be differentiated by the model's trainable tensors. */
export interface TrainableGraph {
  readonly tape: Tape;
  readonly weights: Gpt2Weights;
  /** Present when the adapter has dropout; drawn anew by the caller before each run. */
  readonly dropout: DropoutMasks | undefined;
}

export function trainableGraph(model: Model): TrainableGraph {
  const tape = new Tape(new GraphBuilder());
  const rate = model.adapter?.config.dropout ?? 0;
  const dropout = rate > 0 ? new DropoutMasks(rate) : undefined;
  const weights = graphWeights(tape, model, {
    train: true,
    ...(dropout === undefined ? {} : { dropout: (module, shape) => dropout.value(tape, module, shape) }),
  });
  return { tape, weights, dropout };
}

/** A compiled graph with its gradients. */
export interface TrainableProgram {
  readonly program: Program;
  /** Laid out as `trainableTensors(model).data`; overwritten by each run. */
  readonly gradients: Float32Array;
  readonly dropout: DropoutMasks | undefined;
}

/** Adds the backward pass of `loss` [1], publishes it as output `loss`, and binds everything to memory. */
export async function compileTrainable(
  model: Model,
  { tape, weights, dropout }: TrainableGraph,
  loss: Value,
  inputs: Readonly<Record<string, TensorData>>,
  options: EngineOptions,
): Promise<TrainableProgram> {
  const trainable = trainableTensors(model);
  const values = trainable.specs.map(({ name }) => weights.tensor(name));
  const gradientValues = tape.gradients(loss, values);
  const gradients = new Float32Array(trainable.data.length);
  const outputs: Record<string, Float32Array> = {};
  let offset = 0;
  trainable.specs.forEach(({ name }, index) => {
    const value = gradientValues[index];
    invariant(value !== undefined, `no gradient of ${name}`);
    const size = trainable.view(name).length;
    tape.graph.output(`gradient.${name}`, value);
    outputs[`gradient.${name}`] = gradients.subarray(offset, offset + size);
    offset += size;
  });
  tape.graph.output('loss', loss);
  const memory = { ...weightInputs(model), ...inputs, ...dropout?.inputs() };
  return { program: await compile(tape.graph, { inputs: memory, outputs }, options), gradients, dropout };
}
