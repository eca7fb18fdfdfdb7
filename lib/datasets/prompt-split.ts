import { createHash } from 'node:crypto';

export type SplitName = 'train' | 'validation';

const UNIT_BITS = 32;

/**
 * The split of a row by its prompt: a number from (seed, prompt) in [0, 1) below `validationFraction` is held out. Rows with one
 * prompt stay together, whatever else is in the dataset, so that nothing about a held-out prompt is ever trained on.
 */
export function splitOfPrompt(prompt: string, options: { seed: number; validationFraction: number }): SplitName {
  const digest = createHash('sha256').update(`${options.seed}\n${prompt}`).digest();
  const unit = digest.readUInt32BE(0) / 2 ** UNIT_BITS;
  return unit < options.validationFraction ? 'validation' : 'train';
}
