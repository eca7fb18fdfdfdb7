import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Tokens } from './token-dataset.ts';

/** `length` tokens from `start`: the first is only context, each later one is predicted from those before it. */
export interface Window {
  readonly start: number;
  readonly length: number;
}

/** A list of windows that need not exist in memory. */
export interface WindowPlan {
  readonly count: number;
  at(index: number): Window;
}

/** The memory of one batch: `ids` and `targets` [batch * length], `weights` likewise (1 = counts in the loss). */
export interface Batch {
  readonly ids: Int32Array;
  readonly targets: Int32Array;
  readonly weights: Float32Array;
}

/**
 * Windows of running text: every `length` tokens from `phase` on, so that each later token is predicted once. `tail` keeps
 * a shorter last window.
 */
export function runningWindows(tokens: number, length: number, phase: number, tail: boolean): WindowPlan {
  const predicted = Math.max(0, tokens - 1 - phase);
  const count = tail ? Math.ceil(predicted / length) : Math.floor(predicted / length);
  return {
    count,
    at: (index) => {
      const start = phase + index * length;
      return { start, length: Math.min(length + 1, tokens - start) };
    },
  };
}

/**
 * Windows of prompt/completion rows: whole documents packed in order, so that no completion loses its prompt. Documents
 * longer than a window are cut with one token of overlap. Windows in which nothing counts are left out.
 */
export function packedWindows(tokens: Tokens, length: number, endOfTextId: number): WindowPlan {
  const { ids, mask } = tokens;
  const windows: Window[] = [];
  const push = (start: number, end: number): void => {
    if (mask?.subarray(start + 1, end).includes(1)) windows.push({ start, length: end - start });
  };
  let begin = 0;
  let end = 0;
  for (let next = 0; next < ids.length; next = end) {
    const closing = ids.indexOf(endOfTextId, next);
    const documentEnd = closing === -1 ? ids.length : closing + 1;
    if (documentEnd - begin > length + 1) {
      if (next > begin) push(begin, next);
      begin = next;
      for (; documentEnd - begin > length + 1; begin += length) push(begin, begin + length + 1);
    }
    end = documentEnd;
  }
  if (end > begin) push(begin, end);
  return { count: windows.length, at: (index) => windows[index] ?? { start: 0, length: 0 } };
}

/** The windows on which losses are measured: in order, from the start of the split. */
export function measuringWindows(tokens: Tokens, length: number, endOfTextId: number): WindowPlan {
  return tokens.mask === undefined
    ? runningWindows(tokens.ids.length, length, 0, true)
    : packedWindows(tokens, length, endOfTextId);
}

/** Writes a window into row `row` of a batch, pads the rest, and returns the weight of the row. */
export function fillRow(
  batch: Batch,
  row: number,
  length: number,
  tokens: Tokens,
  window: Window | undefined,
  padding: number,
): number {
  const base = row * length;
  let weight = 0;
  for (let position = 0; position < length; position += 1) {
    const at = (window?.start ?? 0) + position;
    const real = window !== undefined && position + 1 < window.length;
    batch.ids[base + position] = real ? (tokens.ids[at] ?? padding) : padding;
    batch.targets[base + position] = real ? (tokens.ids[at + 1] ?? padding) : padding;
    const counts = real ? (tokens.mask?.[at + 1] ?? 1) : 0;
    batch.weights[base + position] = counts;
    weight += counts;
  }
  return weight;
}

/** Throws `TrainerDataTooShort` naming the split. */
export function requireWindows(plan: WindowPlan, split: string, length: number): WindowPlan {
  if (plan.count > 0) return plan;
  const message = `the ${split} split has no sequence of ${length} tokens with a token that counts in the loss`;
  throw new TrainyardError('TrainerDataTooShort', message);
}
