import { isAbsolute } from 'node:path';
import type { TSchema } from '#typebox';
import { Value } from '#typebox/value';
import { type ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { type FieldError, TrainyardError } from '#lib/kernel/errors.ts';
import {
  DpoSpec,
  EvaluateSpec,
  LoraConfig,
  type ModelConfig,
  PpoSpec,
  RewardSpec,
  SftSpec,
  type TrainerBase,
  type TrainerSpec,
} from '#lib/contracts/trainer-protocol.ts';

/** Specs of the methods that learn from preferences; they share their folders, base and technique. */
export type AlignmentSpec = RewardSpec | DpoSpec | PpoSpec;

/** More errors than this help nobody and a hostile spec could hold thousands. */
const MAX_FIELD_ERRORS = 20;

/**
 * Parses a spec, fills in defaults and checks what a schema cannot say. Every refusal names the field as a JSON pointer;
 * the code is `TrainerBadConfig` or a more exact one.
 */
export function parseTrainerSpec(input: unknown): TrainerSpec {
  const method = typeof input === 'object' && input !== null && 'method' in input ? input.method : undefined;
  switch (method) {
    case 'sft':
      return checkSft(parse<SftSpec>(SftSpec, input));
    case 'reward':
      return checkAlignment(parse<RewardSpec>(RewardSpec, input));
    case 'dpo':
      return checkAlignment(parse<DpoSpec>(DpoSpec, input));
    case 'ppo':
      return checkPpo(parse<PpoSpec>(PpoSpec, input));
    case 'evaluate':
      return checkEvaluate(parse<EvaluateSpec>(EvaluateSpec, input));
    default:
      return refuse('TrainerBadConfig', '/method', "must be 'sft', 'reward', 'dpo', 'ppo' or 'evaluate'");
  }
}

/** The adapter settings of a lora or qlora spec, defaults filled in. */
export const loraOf = (spec: Pick<SftSpec, 'lora'>): LoraConfig => spec.lora ?? parse<LoraConfig>(LoraConfig, {});

function parse<T>(schema: TSchema, input: unknown): T {
  const value = Value.Default(schema, structuredClone(input));
  if (Value.Check(schema, value)) return value as T;
  const fields = [...Value.Errors(schema, value)]
    .filter(({ keyword }) => keyword !== 'boolean')
    .slice(0, MAX_FIELD_ERRORS)
    .map((error): FieldError => ({ pointer: error.instancePath, message: error.message }));
  const message = fields.map((field) => `${field.pointer || '/'} ${field.message}`).join('; ');
  throw new TrainyardError('TrainerBadConfig', message, { fields });
}

function checkSft(spec: SftSpec): SftSpec {
  checkBase('/base', spec.base);
  checkPaths({
    '/dataDir': spec.dataDir,
    '/outputDir': spec.outputDir,
    '/checkpointDir': spec.checkpointDir,
    '/resumeFrom': spec.resumeFrom,
  });
  if (spec.technique !== 'full' && spec.base.kind === 'config') {
    refuse(
      'TrainerBadConfig',
      '/base',
      `${spec.technique} trains adapters on a stored model; give a base of kind 'model'`,
    );
  }
  if (spec.base.kind === 'config')
    checkSequenceLength(spec.hyperparameters.sequenceLength, spec.base.config.contextLength);
  return spec;
}

function checkAlignment<Spec extends AlignmentSpec>(spec: Spec): Spec {
  checkBase('/base', spec.base);
  checkPaths({
    '/dataDir': spec.dataDir,
    '/outputDir': spec.outputDir,
    '/checkpointDir': spec.checkpointDir,
    '/resumeFrom': spec.resumeFrom,
  });
  return spec;
}

function checkPpo(spec: PpoSpec): PpoSpec {
  checkPaths({ '/rewardModelDir': spec.rewardModelDir });
  const { batchSize, numMiniBatches, responseLength, sequenceLength } = spec.hyperparameters;
  if (batchSize % numMiniBatches !== 0) {
    const message = `${numMiniBatches} does not divide batchSize = ${batchSize}`;
    refuse('TrainerBadConfig', '/hyperparameters/numMiniBatches', message);
  }
  if (responseLength >= sequenceLength) {
    const message = `${responseLength} leaves no token of sequenceLength = ${sequenceLength} for the prompt`;
    refuse('TrainerBadConfig', '/hyperparameters/responseLength', message);
  }
  if ((spec.lora?.dropout ?? 0) > 0) {
    const message = 'must be 0: PPO compares probabilities of one policy before and after a step';
    refuse('TrainerBadConfig', '/lora/dropout', message);
  }
  return checkAlignment(spec);
}

function checkEvaluate(spec: EvaluateSpec): EvaluateSpec {
  checkBase('/model', spec.model);
  if (spec.baseline !== undefined) checkBase('/baseline', spec.baseline);
  spec.comparisons?.forEach((base, at) => checkBase(`/comparisons/${at}`, base));
  checkPaths({
    '/dataDir': spec.dataDir,
    '/preferenceDataDir': spec.preferenceDataDir,
    '/outputDir': spec.outputDir,
  });
  if (spec.suites.some(({ suite }) => suite === 'preference_accuracy')) {
    const message = 'is needed by the suite preference_accuracy';
    if (spec.preferenceDataDir === undefined) refuse('TrainerBadConfig', '/preferenceDataDir', message);
    if (spec.baseline === undefined) refuse('TrainerBadConfig', '/baseline', message);
  }
  const names = spec.suites.map((suite) => (suite.suite === 'cloze' ? suite.items : suite.suite));
  const repeated = names.findIndex((name, index) => names.indexOf(name) !== index);
  if (repeated !== -1) refuse('TrainerBadConfig', `/suites/${repeated}`, 'is asked for twice');
  return spec;
}

function checkBase(pointer: string, base: TrainerBase): void {
  if (base.kind === 'config') checkModelConfig(pointer, base.config);
  else checkPaths({ [`${pointer}/dir`]: base.dir, [`${pointer}/adapterDir`]: base.adapterDir });
}

function checkModelConfig(pointer: string, config: ModelConfig): void {
  if (config.embeddingSize % config.heads !== 0) {
    const message = `${config.embeddingSize} is not divisible by heads = ${config.heads}`;
    refuse('EmbeddingNotDivisible', `${pointer}/config/embeddingSize`, message);
  }
}

/** Throws `SequenceTooLong`; also called when the context length is known only from a model folder. */
export function checkSequenceLength(sequenceLength: number, contextLength: number): void {
  if (sequenceLength <= contextLength) return;
  const message = `${sequenceLength} is larger than the model's context length ${contextLength}`;
  refuse('SequenceTooLong', '/hyperparameters/sequenceLength', message);
}

function checkPaths(paths: Readonly<Record<string, string | undefined>>): void {
  for (const [pointer, path] of Object.entries(paths)) {
    if (path !== undefined && !isAbsolute(path)) refuse('TrainerBadConfig', pointer, 'must be an absolute path');
  }
}

function refuse(code: ErrorCode, pointer: string, message: string): never {
  throw new TrainyardError(code, `${pointer} ${message}`, { fields: [{ pointer, message }] });
}
