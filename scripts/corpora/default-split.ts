import { hash } from 'node:crypto';
import { Value } from '#typebox/value';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { prepareDocument } from '#lib/datasets/documents/prepared-document.ts';
import { documentSelection, FATE } from '../../services/cpu-worker/domain/preprocessing.ts';

/** What a job with the default preprocessing trains on and holds out, in order, as `preprocess_data` normalises it. */
export function defaultSplit(texts: readonly string[]): { train: string[]; validation: string[] } {
  const config = Value.Parse(PreprocessConfig, Value.Default(PreprocessConfig, {}));
  const selection = documentSelection(config, (text) => hash('sha256', text));
  const split = { train: [] as string[], validation: [] as string[] };
  for (const text of texts) {
    const document = prepareDocument({ prompt: '', text }, config);
    const fate = selection.decide(document);
    if (fate === FATE.train || fate === FATE.validation) split[fate].push(document.text);
  }
  return split;
}
