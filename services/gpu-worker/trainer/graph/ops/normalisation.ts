import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';
import { sumRows } from './linear.ts';

/** Layer normalisation over the last axis of x [n, c] with scale and bias [c] (Ba et al. 2016). */
export function layerNorm(tape: Tape, x: Value, scale: Value, bias: Value, epsilon: number): Value {
  const { graph } = tape;
  const [rows, columns] = x.shape;
  invariant(rows !== undefined && columns !== undefined && x.shape.length === 2, 'layerNorm wants a matrix');
  const [y, mean, inverseStd] = graph.nodeWithOutputs(
    'LayerNormalization',
    [x, scale, bias],
    [x.shape, [rows, 1], [rows, 1]],
    { attributes: { axis: -1, epsilon: { float: epsilon } } },
  );
  invariant(y !== undefined && mean !== undefined && inverseStd !== undefined, 'LayerNormalization has three outputs');
  tape.record(
    [y],
    [x, scale, bias],
    single((dy, give) => {
      const mul = (a: Value, b: Value): Value => graph.node('Mul', [a, b], x.shape);
      const sub = (a: Value, b: Value): Value => graph.node('Sub', [a, b], x.shape);
      const rowMean = (a: Value): Value => graph.node('ReduceMean', [a, graph.integers([1])], [rows, 1]);
      const normalised = mul(sub(x, mean), inverseStd);
      if (tape.isTracked(scale)) give(scale, sumRows(tape, mul(dy, normalised)));
      if (tape.isTracked(bias)) give(bias, sumRows(tape, dy));
      if (!tape.isTracked(x)) return;
      const scaled = mul(dy, scale);
      const along = mul(normalised, rowMean(mul(scaled, normalised)));
      give(x, mul(sub(sub(scaled, rowMean(scaled)), along), inverseStd));
    }),
  );
  return y;
}

/** Softmax over the last axis. */
export function softmax(tape: Tape, x: Value): Value {
  const { graph } = tape;
  const y = graph.node('Softmax', [x], x.shape, { attributes: { axis: -1 } });
  const reduced = [...x.shape.slice(0, -1), 1];
  tape.record(
    [y],
    [x],
    single((dy, give) => {
      const weighted = graph.node('Mul', [dy, y], x.shape);
      const sum = graph.node('ReduceSum', [weighted, graph.integers([x.shape.length - 1])], reduced);
      const share = graph.node('Mul', [y, sum], x.shape);
      give(x, graph.node('Sub', [weighted, share], x.shape));
    }),
  );
  return y;
}
