import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ScoringProgram } from '../programs/causal-lm.ts';

/** A context and what is scored after it. */
export interface ScoredRow {
  readonly ids: ArrayLike<number>;
  /** Position of the first token that is scored, at least 1. */
  readonly scoredFrom: number;
}

export interface RowScoring {
  /** Tokens of a row of the program. */
  readonly length: number;
  readonly padding: number;
  readonly afterBatch: () => void;
}

/** Context and continuation in at most `length + 1` tokens: continuations are cut on the right, contexts on the left. */
export function scoredRow(context: ArrayLike<number>, continuation: ArrayLike<number>, length: number): ScoredRow {
  const kept = Array.from(continuation).slice(0, length);
  const room = length + 1 - kept.length;
  const before = Array.from(context).slice(-room);
  return { ids: [...before, ...kept], scoredFrom: before.length };
}

/** The summed log-likelihood of each row's scored part, in nats and row order. Throws `NonFiniteLoss`. */
export async function scoreRows(
  program: ScoringProgram,
  rows: readonly ScoredRow[],
  { length, padding, afterBatch }: RowScoring,
): Promise<number[]> {
  const { ids, targets } = program.batch;
  const perBatch = ids.length / length;
  const scores: number[] = [];
  for (let begin = 0; begin < rows.length; begin += perBatch) {
    const batch = rows.slice(begin, begin + perBatch);
    ids.fill(padding);
    targets.fill(padding);
    batch.forEach((row, index) => {
      const all = Array.from(row.ids);
      ids.set(all.slice(0, -1), index * length);
      targets.set(all.slice(1), index * length);
    });
    const losses = await program.run();
    batch.forEach((row, index) => {
      // The token at position p of the row is the target at p - 1.
      const from = index * length;
      const scored = losses.subarray(from + row.scoredFrom - 1, from + row.ids.length - 1);
      const logLikelihood = -scored.reduce((sum, nats) => sum + nats, 0);
      if (!Number.isFinite(logLikelihood)) {
        throw new TrainyardError('NonFiniteLoss', `the model's log-likelihood of a text is ${logLikelihood}`);
      }
      scores.push(logLikelihood);
    });
    afterBatch();
  }
  return scores;
}
