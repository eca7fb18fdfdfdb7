import type { RewardSpec } from '#lib/contracts/trainer-protocol.ts';

/** A prompt with one completion, cut to fit. */
export interface Sequence {
  readonly ids: Uint16Array;
  /** Tokens of the prompt, at least 1; all later ones are the completion, at least 1. */
  readonly promptLength: number;
  /** True when something was cut off. */
  readonly cut: boolean;
}

/** Joins prompt and completion in at most `length` tokens: completions are cut on the right, then prompts on the left. */
export function fitSequence(prompt: Uint16Array, completion: Uint16Array, length: number): Sequence {
  const kept = completion.subarray(0, length - 1);
  const before = prompt.subarray(Math.max(0, prompt.length - (length - kept.length)));
  const ids = new Uint16Array(before.length + kept.length);
  ids.set(before);
  ids.set(kept, before.length);
  return { ids, promptLength: before.length, cut: ids.length < prompt.length + completion.length };
}

/**
 * Rows of sequences in memory: `ids` and `targets` [rows * length], `weights` [rows * length]. Position `p` of a row holds token
 * `p` and predicts token `p + 1`.
 */
export interface SequenceBatch {
  readonly length: number;
  readonly ids: Int32Array;
  readonly targets: Int32Array;
  readonly weights: Float32Array;
}

export function allocateSequences(rows: number, length: number): SequenceBatch {
  const size = rows * length;
  return { length, ids: new Int32Array(size), targets: new Int32Array(size), weights: new Float32Array(size) };
}

/** Writes a row whose weights are 1 where a token of the completion is predicted; without a sequence the row is padding. */
export function fillPredicting(
  batch: SequenceBatch,
  row: number,
  sequence: Sequence | undefined,
  padding: number,
): void {
  fillTokens(batch, row, sequence, padding);
  if (sequence === undefined) return;
  const base = row * batch.length;
  batch.weights.fill(1, base + sequence.promptLength - 1, base + sequence.ids.length - 1);
}

/** Writes a row whose weights pool over the tokens of the completion themselves: their mean, or the last one. */
export function fillPooling(
  batch: SequenceBatch,
  row: number,
  sequence: Sequence | undefined,
  padding: number,
  pooling: RewardSpec['pooling'],
): void {
  fillTokens(batch, row, sequence, padding);
  if (sequence === undefined) return;
  const base = row * batch.length;
  const end = base + sequence.ids.length;
  const begin = pooling === 'last' ? end - 1 : base + sequence.promptLength;
  batch.weights.fill(1 / (end - begin), begin, end);
}

function fillTokens(batch: SequenceBatch, row: number, sequence: Sequence | undefined, padding: number): void {
  const { length } = batch;
  const [begin, end] = [row * length, (row + 1) * length];
  batch.ids.fill(padding, begin, end);
  batch.targets.fill(padding, begin, end);
  batch.weights.fill(0, begin, end);
  if (sequence === undefined) return;
  batch.ids.set(sequence.ids, begin);
  batch.targets.set(sequence.ids.subarray(1), begin);
}
