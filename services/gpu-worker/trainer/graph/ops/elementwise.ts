import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';

/** Sum of two tensors of one shape. */
export function add(tape: Tape, a: Value, b: Value): Value {
  invariant(a.shape.join() === b.shape.join(), `add: ${a.shape.join()} and ${b.shape.join()}`);
  const y = tape.graph.node('Add', [a, b], a.shape);
  tape.record(
    [y],
    [a, b],
    single((dy, give) => {
      give(a, dy);
      give(b, dy);
    }),
  );
  return y;
}

/** Adds a constant that broadcasts onto `x`; no gradient flows into the constant. */
export function addConstant(tape: Tape, x: Value, constant: Value): Value {
  const y = tape.graph.node('Add', [x, constant], x.shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, dy)),
  );
  return y;
}

/** Product with a value that is data (a dropout mask, a scale), not a parameter; `factor` broadcasts onto `x`. */
export function multiplyByData(tape: Tape, x: Value, factor: Value): Value {
  const y = tape.graph.node('Mul', [x, factor], x.shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, tape.graph.node('Mul', [dy, factor], x.shape))),
  );
  return y;
}

export const scale = (tape: Tape, x: Value, factor: number): Value =>
  multiplyByData(tape, x, tape.graph.floats([factor], []));

/** max(0, x): the cheapest activation, and the one the built-in models use. */
export function relu(tape: Tape, x: Value): Value {
  const { graph } = tape;
  const y = graph.node('Relu', [x], x.shape);
  tape.record(
    [y],
    [x],
    // y is never negative, so its sign is the derivative: 0 or 1.
    single((dy, give) => give(x, graph.node('Mul', [dy, graph.node('Sign', [y], x.shape)], x.shape))),
  );
  return y;
}

/** x * sigmoid(1.702 x): smooth, so that finite differences can check whole models. */
export function quickGelu(tape: Tape, x: Value): Value {
  const { graph } = tape;
  const slope = graph.floats([1.702], []);
  const one = graph.floats([1], []);
  const sigmoid = graph.node('Sigmoid', [graph.node('Mul', [x, slope], x.shape)], x.shape);
  const y = graph.node('Mul', [x, sigmoid], x.shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => {
      // d/dx = s + 1.702 x s (1 - s) = s (1 + 1.702 (x - y))
      const rest = graph.node('Mul', [graph.node('Sub', [x, y], x.shape), slope], x.shape);
      const derivative = graph.node('Mul', [sigmoid, graph.node('Add', [rest, one], x.shape)], x.shape);
      give(x, graph.node('Mul', [dy, derivative], x.shape));
    }),
  );
  return y;
}
