import { invariant } from '#lib/kernel/errors.ts';
import { sizeOf, type Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';

export function reshape(tape: Tape, x: Value, shape: readonly number[]): Value {
  invariant(sizeOf(x.shape) === sizeOf(shape), `reshape: ${x.shape.join()} to ${shape.join()}`);
  const y = rawReshape(tape, x, shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, rawReshape(tape, dy, x.shape))),
  );
  return y;
}

/** Axis `i` of the answer is axis `permutation[i]` of `x`. */
export function transpose(tape: Tape, x: Value, permutation: readonly number[]): Value {
  const y = rawTranspose(tape, x, permutation);
  const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, rawTranspose(tape, dy, inverse))),
  );
  return y;
}

/** Splits the first axis into parts of size 1 and drops that axis: [n, ...rest] -> n tensors [...rest]. */
export function unstack(tape: Tape, x: Value): Value[] {
  const { graph } = tape;
  const [count = 1, ...rest] = x.shape;
  const slices = graph.nodeWithOutputs(
    'Split',
    [x],
    Array.from({ length: count }, () => [1, ...rest]),
    { attributes: { axis: 0, num_outputs: count } },
  );
  const parts = slices.map((slice) => rawReshape(tape, slice, rest));
  tape.record(parts, [x], (gradients, give) => {
    const zeros = (): Value =>
      graph.node('Expand', [graph.floats([0], [1]), graph.integers([1, ...rest])], [1, ...rest]);
    const stacked = gradients.map((gradient) =>
      gradient === undefined ? zeros() : rawReshape(tape, gradient, [1, ...rest]),
    );
    give(x, graph.node('Concat', stacked, x.shape, { attributes: { axis: 0 } }));
  });
  return parts;
}

const rawReshape = (tape: Tape, x: Value, shape: readonly number[]): Value =>
  tape.graph.node('Reshape', [x, tape.graph.integers(shape)], shape);

function rawTranspose(tape: Tape, x: Value, permutation: readonly number[]): Value {
  const shape = permutation.map((axis) => x.shape[axis] ?? 1);
  return tape.graph.node('Transpose', [x], shape, { attributes: { perm: permutation } });
}
