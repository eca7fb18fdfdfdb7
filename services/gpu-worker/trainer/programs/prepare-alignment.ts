import { createHash } from 'node:crypto';
import type { TokenRowFormat } from '#lib/contracts/preference-dataset.ts';
import { readTokenRows, type TokenRowData } from '#lib/datasets/row-folder-reader.ts';
import { canonicalJson, type Json } from '#lib/kernel/canonical-json.ts';
import { writeModelFolder } from '../formats/model-folder.ts';
import { writeAdapterFolder } from '../formats/peft-adapter.ts';
import { checkEstimate, parameterCount } from '../memory.ts';
import type { Send } from '../messages.ts';
import { baseConfig, loadBase, weightsDigest } from '../model/load-base.ts';
import { type Model, trainableTensors } from '../model/weights.ts';
import { type AlignmentSpec, checkSequenceLength, loraOf } from '../spec.ts';
import { COPIES, withTechnique } from './technique.ts';

export interface PreparedAlignment {
  readonly data: TokenRowData;
  readonly model: Model;
  /** Equal digests = the same run: what checkpoints are checked against. Paths and reporting settings do not count. */
  readonly configDigest: string;
}

/**
 * Loads rows and base, checks that they fit each other and the machine, and builds the model that `technique` trains. `passes` is
 * the number of sequences of one pass; `identity` is what else the numbers depend on.
 */
export async function prepareAlignment(
  spec: AlignmentSpec,
  format: TokenRowFormat,
  passes: number,
  identity: Readonly<Record<string, Json>> = {},
): Promise<PreparedAlignment> {
  const data = await readTokenRows(spec.dataDir, format);
  const config = await baseConfig(spec.base, data.description.tokenizer);
  const { sequenceLength } = spec.hyperparameters;
  checkSequenceLength(sequenceLength, config.contextLength);
  const size = { batch: passes, length: sequenceLength, copies: COPIES[spec.technique] };
  checkEstimate(config, size, spec.limits.maxMemoryMib);
  // A stored base: nothing is drawn.
  const base = await loadBase(spec.base, config, { std: 0, seed: 0 });
  const configDigest = digestOf(spec, data, { ...identity, base: weightsDigest(base) });
  return { data, model: withTechnique(spec, base), configDigest };
}

/** Writes the trained model as `sft` does: a model folder, or an adapter folder when there is an adapter. */
export const writePolicy = (dir: string, model: Model, tokenizerJson: string): Promise<string[]> =>
  model.adapter === undefined
    ? writeModelFolder(dir, model.config, model.base, tokenizerJson)
    : writeAdapterFolder(dir, model.config, model.adapter, tokenizerJson);

export const modelMetrics = (model: Model): Record<string, number> => ({
  'model.parameters': parameterCount(model.config),
  'model.trainable_parameters': trainableTensors(model).data.length,
});

export function announceAlignment(
  spec: AlignmentSpec,
  { model, data }: Pick<PreparedAlignment, 'model' | 'data'>,
  send: Send,
): void {
  const { 'model.parameters': all, 'model.trainable_parameters': trainable } = modelMetrics(model);
  const message = `${spec.method} ${spec.technique}: ${all} parameters, ${trainable} trainable, ${data.train.count} training rows`;
  send({ type: 'log', level: 'info', message });
  if (model.adapter !== undefined && spec.method !== 'reward' && spec.base.adapterDir !== undefined) {
    const warning = 'the new adapter applies to the base with its adapter merged in, not to the base alone';
    send({ type: 'log', level: 'warn', message: warning });
  }
}

/** Settings that say when something is reported and not what is learnt. */
const REPORTING: ReadonlySet<string> = new Set([
  'checkpointEverySteps',
  'evaluateEverySteps',
  'validationPairs',
  'validationPrompts',
]);

function digestOf(spec: AlignmentSpec, data: TokenRowData, identity: Readonly<Record<string, Json>>): string {
  const decisive = Object.entries(spec.hyperparameters).filter(([name]) => !REPORTING.has(name));
  const { sourceDigest, configDigest, tokenizer, splits } = data.description;
  const all = {
    method: spec.method,
    technique: spec.technique,
    lora: spec.technique === 'full' ? null : { ...loraOf(spec) },
    hyperparameters: Object.fromEntries(decisive),
    seed: spec.seed,
    data: {
      sourceDigest,
      configDigest,
      tokenizer: tokenizer.sha256,
      train: splits.train.shards.map(({ sha256, lengthsSha256 }) => [sha256, lengthsSha256]),
    },
    ...identity,
  };
  return createHash('sha256').update(canonicalJson(all)).digest('hex');
}
