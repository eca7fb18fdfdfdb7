import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Tokens } from '../data/token-dataset.ts';
import { fillRow, type WindowPlan } from '../data/windows.ts';
import type { ScoringProgram } from './causal-lm.ts';

/** What a model says about one window: summed loss in nats and how many tokens counted. */
export interface WindowScore {
  readonly nats: number;
  readonly tokens: number;
}

/**
 * Scores the first `count` windows in order, a batch at a time; `afterBatch` is told how many are done. Throws `NonFiniteLoss`:
 * a report with such a number would not even be JSON.
 */
export async function scoreWindows(
  program: ScoringProgram,
  tokens: Tokens,
  plan: WindowPlan,
  options: { length: number; count: number; padding: number; afterBatch?: (done: number) => void },
): Promise<WindowScore[]> {
  const { length, padding } = options;
  const { batch } = program;
  const rows = batch.ids.length / length;
  const count = Math.min(options.count, plan.count);
  const scores: WindowScore[] = [];
  while (scores.length < count) {
    const inBatch = Math.min(rows, count - scores.length);
    for (let row = 0; row < rows; row += 1) {
      fillRow(batch, row, length, tokens, row < inBatch ? plan.at(scores.length + row) : undefined, padding);
    }
    const losses = await program.run();
    for (let row = 0; row < inBatch; row += 1) scores.push(sumRow(losses, batch.weights, row * length, length));
    options.afterBatch?.(scores.length);
  }
  return scores;
}

/** exp(loss), kept within what a number and JSON can hold: a hopeless model has a huge perplexity, not none. */
export const perplexity = (loss: number): number => Math.exp(Math.min(loss, LARGEST_EXPONENT));

/** exp(700) is about 1e304; exp(710) is infinite. */
const LARGEST_EXPONENT = 700;

/** Nats per token over all windows; NaN without any. */
export function meanLoss(scores: readonly WindowScore[]): number {
  const nats = scores.reduce((sum, score) => sum + score.nats, 0);
  return nats / scores.reduce((sum, score) => sum + score.tokens, 0);
}

function sumRow(losses: Float32Array, weights: Float32Array, begin: number, length: number): WindowScore {
  let nats = 0;
  let tokens = 0;
  for (let index = begin; index < begin + length; index += 1) {
    const weight = weights[index] ?? 0;
    // Not a product: a padded position may hold any loss, and 0 times infinity is not a number.
    if (weight > 0) nats += losses[index] ?? 0;
    tokens += weight;
  }
  if (!Number.isFinite(nats)) throw new TrainyardError('NonFiniteLoss', `the model's loss on held-out text is ${nats}`);
  return { nats, tokens };
}
