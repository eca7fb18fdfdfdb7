import { TrainyardError } from '#lib/kernel/errors.ts';
import type { PreferencePairs } from '../data/preference-pairs.ts';
import type { Sequence, SequenceBatch } from '../data/sequences.ts';
import type { PairValues } from './pair-metrics.ts';
import type { RowProgram } from './preference-programs.ts';

/** Writes a row of a batch, or padding without a sequence. */
export type FillRow = (batch: SequenceBatch, row: number, sequence: Sequence | undefined) => void;

/** Memory of two numbers a pair, chosen before rejected, in row order. NaN = not known yet. */
export const unknownPairValues = (pairs: number): Float32Array => new Float32Array(2 * pairs).fill(Number.NaN);

export const pairValues = (values: Float32Array, pair: number): PairValues => ({
  chosen: values[2 * pair] ?? Number.NaN,
  rejected: values[2 * pair + 1] ?? Number.NaN,
});

/**
 * Fills in what is not known yet, a batch at a time; `afterBatch` may throw to stop, then what is done is kept. Throws
 * `NonFiniteLoss`: nothing could be compared with such a number.
 */
export async function scorePairs(
  program: RowProgram,
  pairs: PreferencePairs,
  values: Float32Array,
  fill: FillRow,
  afterBatch: () => void = () => undefined,
): Promise<void> {
  const perBatch = program.batch.ids.length / program.batch.length / 2;
  const firstUnknown = values.findIndex(Number.isNaN);
  if (firstUnknown === -1) return;
  for (let begin = firstUnknown >> 1; begin < pairs.count; begin += perBatch) {
    const count = Math.min(perBatch, pairs.count - begin);
    for (let index = 0; index < perBatch; index += 1) {
      const pair = index < count ? pairs.at(begin + index) : undefined;
      fill(program.batch, index, pair?.chosen);
      fill(program.batch, perBatch + index, pair?.rejected);
    }
    const scored = await program.run();
    for (let index = 0; index < count; index += 1) {
      const [chosen, rejected] = [scored[index] ?? Number.NaN, scored[perBatch + index] ?? Number.NaN];
      if (!Number.isFinite(chosen) || !Number.isFinite(rejected)) {
        const message = `the model gives the completions of row ${begin + index} the values ${chosen} and ${rejected}`;
        throw new TrainyardError('NonFiniteLoss', message);
      }
      values[2 * (begin + index)] = chosen;
      values[2 * (begin + index) + 1] = rejected;
    }
    afterBatch();
  }
}
