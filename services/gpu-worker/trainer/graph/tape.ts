import { invariant } from '#lib/kernel/errors.ts';
import type { GraphBuilder, Value } from './onnx-model.ts';

/**
 * Reverse-mode differentiation by building: every differentiable op adds its forward nodes and records how to add the nodes
 * of its vector-Jacobian product. `gradients` walks the record backwards and emits those nodes into the same graph.
 */
export class Tape {
  readonly graph: GraphBuilder;
  private readonly records: TapeRecord[] = [];
  private readonly tracked = new Set<string>();

  constructor(graph: GraphBuilder) {
    this.graph = graph;
  }

  /** Marks a value as one whose gradient will be asked for. */
  track(value: Value): Value {
    this.tracked.add(value.name);
    return value;
  }

  /** True when a gradient flows into the value; ops use it to leave out work for frozen weights. */
  isTracked(value: Value): boolean {
    return this.tracked.has(value.name);
  }

  /** Records `outputs = f(inputs)`; without a tracked input nothing is recorded. */
  record(outputs: readonly Value[], inputs: readonly Value[], backward: Backward): void {
    if (!inputs.some((value) => this.isTracked(value))) return;
    for (const output of outputs) this.tracked.add(output.name);
    this.records.push({ outputs, inputs, backward });
  }

  /** Emits the backward pass of a one-element `loss`; the answer is in the order of `of`. */
  gradients(loss: Value, of: readonly Value[]): Value[] {
    invariant(loss.shape.length === 1 && loss.shape[0] === 1, 'a loss has the shape [1]');
    const gradientOf = new Map<string, Value>([[loss.name, this.graph.floats([1], [1])]]);
    for (const record of this.records.toReversed()) {
      const outputGradients = record.outputs.map((output) => gradientOf.get(output.name));
      if (outputGradients.every((gradient) => gradient === undefined)) continue;
      record.backward(outputGradients, (input, gradient) => {
        if (!this.isTracked(input)) return;
        invariant(
          gradient.shape.join() === input.shape.join(),
          `gradient ${gradient.shape.join()} of a value ${input.shape.join()}`,
        );
        const sum = gradientOf.get(input.name);
        gradientOf.set(input.name, sum === undefined ? gradient : this.graph.node('Add', [sum, gradient], input.shape));
      });
    }
    return of.map((value) => {
      const gradient = gradientOf.get(value.name);
      invariant(gradient !== undefined, `the loss does not depend on ${value.name}`);
      return gradient;
    });
  }
}

/** Receives the gradients of the outputs (undefined: not used by the loss) and adds those of the inputs. */
export type Backward = (
  outputGradients: readonly (Value | undefined)[],
  add: (input: Value, gradient: Value) => void,
) => void;

interface TapeRecord {
  readonly outputs: readonly Value[];
  readonly inputs: readonly Value[];
  readonly backward: Backward;
}

/** For the common op with one output. */
export const single =
  (backward: (gradient: Value, add: (input: Value, gradient: Value) => void) => void): Backward =>
  ([gradient], add) => {
    if (gradient !== undefined) backward(gradient, add);
  };
