import { invariant } from '#lib/kernel/errors.ts';
import type { Value } from '../onnx-model.ts';
import { single, type Tape } from '../tape.ts';

/** Rows of `table` [v, c] at `indices` [n] (int32): [n, c]. The gradient adds up over repeated indices. */
export function embed(tape: Tape, table: Value, indices: Value): Value {
  const { graph } = tape;
  const [count] = indices.shape;
  const [, width] = table.shape;
  invariant(count !== undefined && width !== undefined, 'embed wants a matrix and a vector of indices');
  const y = graph.node('Gather', [table, indices], [count, width], { attributes: { axis: 0 } });
  tape.record(
    [y],
    [table],
    single((dy, give) => {
      const zeros = graph.node('Expand', [graph.floats([0], [1]), graph.integers(table.shape)], table.shape);
      const column = graph.node('Reshape', [indices, graph.integers([count, 1])], [count, 1]);
      const wide = graph.node('Cast', [column], [count, 1], { type: 'int64', attributes: { to: 7 } });
      give(table, graph.node('ScatterND', [zeros, wide, dy], table.shape, { attributes: { reduction: 'add' } }));
    }),
  );
  return y;
}

/**
 * Cross entropy of `logits` [n, v] against `targets` [n, 1] (int32). `perToken` [n, 1] is the loss of each token in nats,
 * `loss` [1] their sum weighted with `weights` [n, 1]; the caller makes the weights sum to 1 over an optimiser step.
 */
export function crossEntropy(
  tape: Tape,
  logits: Value,
  targets: Value,
  weights: Value,
): { loss: Value; perToken: Value } {
  const { graph } = tape;
  const [rows] = logits.shape;
  invariant(rows !== undefined && targets.shape.join() === `${rows},1`, 'one target per row of logits');
  const column = [rows, 1];
  const logProbabilities = graph.node('LogSoftmax', [logits], logits.shape, { attributes: { axis: -1 } });
  const picked = graph.node('GatherElements', [logProbabilities, targets], column, { attributes: { axis: 1 } });
  const perToken = graph.node('Neg', [picked], column);
  const weighted = graph.node('Mul', [perToken, weights], column);
  const loss = graph.node('ReduceSum', [weighted, graph.integers([0, 1])], [1], { attributes: { keepdims: 0 } });
  // ONNX reduces to a scalar; the tape wants [1].
  const lossVector = graph.node('Reshape', [loss, graph.integers([1])], [1]);
  tape.record(
    [lossVector],
    [logits],
    single((dy, give) => {
      const rowGradient = graph.node('Mul', [weights, dy], column);
      const probabilities = graph.node('Exp', [logProbabilities], logits.shape);
      const spread = graph.node('Mul', [probabilities, rowGradient], logits.shape);
      const minus = graph.node('Neg', [rowGradient], column);
      give(
        logits,
        graph.node('ScatterElements', [spread, targets, minus], logits.shape, {
          attributes: { axis: 1, reduction: 'add' },
        }),
      );
    }),
  );
  return { loss: lossVector, perToken };
}
