import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { ngramBaselines } from '#lib/text/ngram.ts';
import type { Tokens } from '../data/token-dataset.ts';
import { measuringWindows, requireWindows, type WindowPlan } from '../data/windows.ts';
import type { ScoringProgram } from '../programs/causal-lm.ts';
import { scoreWindows } from '../programs/score-windows.ts';
import { type NamedEstimate, perplexityOf, ratio } from './estimate.ts';

/** What is scored: the same for every model, so that differences are paired. */
export interface HeldOutText {
  readonly tokens: Tokens;
  readonly windows: WindowPlan;
  readonly length: number;
  readonly padding: number;
  /** UTF-8 bytes of the counted tokens of each window: bits per byte compare models with different vocabularies. */
  readonly windowBytes: readonly number[];
}

/** Bytes of each token id; special tokens have none. */
export type TokenBytes = readonly { readonly length: number }[];

/** The first `maxTokens` tokens of a split (0 = all) in windows of `length`; throws `TrainerDataTooShort` when nothing counts. */
export function heldOutText(
  split: Tokens,
  options: { maxTokens: number; length: number; padding: number; tokenBytes: TokenBytes },
): HeldOutText {
  const { maxTokens, length, padding, tokenBytes } = options;
  const end = maxTokens === 0 ? split.ids.length : Math.min(maxTokens, split.ids.length);
  const tokens: Tokens = {
    ids: split.ids.subarray(0, end),
    ...(split.mask === undefined ? {} : { mask: split.mask.subarray(0, end) }),
  };
  const windows = requireWindows(measuringWindows(tokens, length, padding), 'validation', length);
  const windowBytes = Array.from({ length: windows.count }, (_, index) => {
    const { start, length: size } = windows.at(index);
    let bytes = 0;
    for (let at = start + 1; at < start + size; at += 1) {
      if (tokens.mask === undefined || tokens.mask[at] === 1)
        bytes += tokenBytes[tokens.ids[at] ?? padding]?.length ?? 0;
    }
    return bytes;
  });
  return { tokens, windows, length, padding, windowBytes };
}

/** Loss, perplexity and bits per byte of a model, with windows as the independent items. */
export async function heldOutEstimates(
  program: ScoringProgram,
  text: HeldOutText,
  afterBatch: () => void,
): Promise<NamedEstimate[]> {
  const { tokens, windows, length, padding, windowBytes } = text;
  const scores = await scoreWindows(program, tokens, windows, { length, count: windows.count, padding, afterBatch });
  const nats = scores.map((score) => score.nats);
  const loss = ratio(
    nats,
    scores.map((score) => score.tokens),
  );
  const bits = nats.map((value) => value / Math.LN2);
  return [
    { name: 'held_out.loss', higherIsBetter: false, estimate: loss },
    { name: 'held_out.perplexity', higherIsBetter: false, estimate: perplexityOf(loss) },
    { name: 'held_out.bits_per_byte', higherIsBetter: false, estimate: ratio(bits, windowBytes) },
  ];
}

/**
 * What counting alone reaches on the same text, with tables of the train split. Left out for prompt/completion data, whose
 * models are scored on completions only.
 */
export function countingBaselines(text: HeldOutText, train: Tokens, tokenBytes: TokenBytes): EvaluationMetric[] {
  if (text.tokens.mask !== undefined || train.ids.length < 2) return [];
  const bytes = text.tokens.ids.reduce((sum, id) => sum + (tokenBytes[id]?.length ?? 0), 0);
  const baselines = ngramBaselines(train.ids, text.tokens.ids, bytes, tokenBytes.length);
  const plain = { standardError: null, higherIsBetter: false, count: text.windows.count };
  return [
    { name: 'held_out.unigram_bits_per_byte', value: baselines.unigramBitsPerByte, ...plain },
    { name: 'held_out.bigram_bits_per_byte', value: baselines.bigramBitsPerByte, ...plain },
  ];
}
