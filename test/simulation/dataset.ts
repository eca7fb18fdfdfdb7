import { digestOf } from './artifacts.ts';

/** The dataset that every fine-tuning job uses. */
export const DATASET = {
  name: 'corpus',
  version: 1,
  format: 'text' as const,
  objectKey: 'datasets/corpus/1',
  sha256: digestOf('corpus'),
  bytes: 1_000,
  createdAt: new Date(0),
};
