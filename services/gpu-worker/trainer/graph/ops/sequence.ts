import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';
import { multiplyByData } from './elementwise.ts';
import { linear } from './linear.ts';
import { reshape } from './shape.ts';

/** Log-probability of `targets` [n, 1] (int32) under `logits` [n, v]: [n, 1], in nats, never above 0. */
export function logProbabilities(tape: Tape, logits: Value, targets: Value): Value {
  const { graph } = tape;
  const [rows] = logits.shape;
  invariant(rows !== undefined && targets.shape.join() === `${rows},1`, 'one target per row of logits');
  const all = graph.node('LogSoftmax', [logits], logits.shape, { attributes: { axis: -1 } });
  const picked = graph.node('GatherElements', [all, targets], [rows, 1], { attributes: { axis: 1 } });
  tape.record(
    [picked],
    [logits],
    single((dy, give) => {
      // d log p(t) / d logit(i) = [i = t] - p(i)
      const probabilities = graph.node('Exp', [all], logits.shape);
      const spread = graph.node('Mul', [probabilities, graph.node('Neg', [dy], [rows, 1])], logits.shape);
      const attributes = { axis: 1, reduction: 'add' };
      give(logits, graph.node('ScatterElements', [spread, targets, dy], logits.shape, { attributes }));
    }),
  );
  return picked;
}

/** Weighted sum of each sequence: `x` [sequences * length, 1], `weights` [sequences, length] (data) -> [sequences, 1]. */
export function sequenceSums(tape: Tape, x: Value, weights: Value): Value {
  const [, length] = weights.shape;
  invariant(length !== undefined, 'weights have a row a sequence');
  const ones = tape.graph.floats(
    Array.from({ length }, () => 1),
    [length, 1],
  );
  return linear(tape, multiplyByData(tape, reshape(tape, x, weights.shape), weights), ones);
}

/** First half minus second half of the rows: [2n, 1] -> [n, 1]. */
export function halvesDifference(tape: Tape, x: Value): Value {
  const { graph } = tape;
  const [rows = 0] = x.shape;
  const half = [rows / 2, 1];
  const [first, second] = graph.nodeWithOutputs('Split', [x], [half, half], {
    attributes: { axis: 0, num_outputs: 2 },
  });
  invariant(first !== undefined && second !== undefined, 'two halves');
  const y = graph.node('Sub', [first, second], half);
  tape.record(
    [y],
    [x],
    single((dy, give) => {
      const minus = graph.node('Neg', [dy], half);
      give(x, graph.node('Concat', [dy, minus], x.shape, { attributes: { axis: 0 } }));
    }),
  );
  return y;
}

/** `x - data`, both [n, 1]; no gradient flows into the data. */
export function minusData(tape: Tape, x: Value, data: Value): Value {
  const y = tape.graph.node('Sub', [x, data], x.shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, dy)),
  );
  return y;
}

/** log(sigmoid(x)), without overflow at either end. */
export function logSigmoid(tape: Tape, x: Value): Value {
  const { graph } = tape;
  const minus = graph.node('Neg', [x], x.shape);
  const y = graph.node('Neg', [graph.node('Softplus', [minus], x.shape)], x.shape);
  tape.record(
    [y],
    [x],
    single((dy, give) => give(x, graph.node('Mul', [dy, graph.node('Sigmoid', [minus], x.shape)], x.shape))),
  );
  return y;
}

/** Sum of `x` [n, 1] weighted with `weights` [n, 1] (data): [1]. */
export function weightedSum(tape: Tape, x: Value, weights: Value): Value {
  const [rows = 0] = x.shape;
  return reshape(tape, linear(tape, reshape(tape, x, [1, rows]), weights), [1]);
}
