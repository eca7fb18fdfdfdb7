import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { type Architecture, at, checkDataset, checkModel, type DatasetFinding, type ModelFinding } from './findings.ts';
import { checkPolicy, checkSuites } from './suite-rules.ts';

/** What the spec's `base` turned out to be: a config names nothing that could be missing. */
export type BaseFinding = { readonly kind: 'config' } | ModelFinding;

export interface FineTuneFindings {
  readonly dataset: DatasetFinding;
  readonly base: BaseFinding;
}

/** Checkpoints and validations a job may ask for: each is an upload or a pause of the trainer. */
const MAX_CHECKPOINTS = 10_000;

/**
 * What no schema can say about a fine-tuning spec, given what its references are. Every broken rule is reported, with a pointer into the
 * submitted body, where the spec lies at `root`; empty = the job can run.
 */
export function checkFineTune(spec: FineTuneSpec, findings: FineTuneFindings, root = '/spec'): FieldError[] {
  return [
    ...checkDataset({ ...spec.dataset, pointer: '/dataset' }, findings.dataset, 'text'),
    ...checkBase(spec, findings.base),
    ...checkMethod(spec, findings.base),
    ...checkSizes(spec, architectureOf(spec, findings.base)),
    ...checkIntervals(spec.hyperparameters),
    ...checkPreprocessing(spec),
    ...checkEvaluation(spec),
  ].map(({ pointer, message }) => at(`${root}${pointer}`, message));
}

/** The shape the job trains: the config's, or the base's when it is recorded. */
export function architectureOf(spec: FineTuneSpec, base: BaseFinding): Architecture | null {
  if ('config' in spec.base)
    return { ...spec.base.config, vocabularySize: spec.preprocessing?.vocabularySize ?? DEFAULT_VOCABULARY };
  return base.kind === 'model' ? base.architecture : null;
}

/** The default of `PreprocessConfig.vocabularySize`. */
const DEFAULT_VOCABULARY = 1024;

function checkBase(spec: FineTuneSpec, base: BaseFinding): FieldError[] {
  if (base.kind !== 'config' && 'model' in spec.base)
    return checkModel({ reference: spec.base.model, pointer: '/base/model' }, base);
  if ('config' in spec.base && spec.base.config.embeddingSize % spec.base.config.heads !== 0)
    return [at('/base/config/embeddingSize', `must be divisible by heads (${spec.base.config.heads})`)];
  return [];
}

function checkMethod(spec: FineTuneSpec, base: BaseFinding): FieldError[] {
  if (spec.method === 'full')
    return spec.lora === undefined ? [] : [at('/lora', 'is only for the methods lora and qlora')];
  if ('config' in spec.base)
    return [at('/method', `${spec.method} trains an adapter of a model: it needs base.model, not base.config`)];
  return refuseAdapterOnAdapter(spec.method, base, '/base/model');
}

/** An adapter cannot lie on an adapter. */
export function refuseAdapterOnAdapter(method: string, base: BaseFinding, pointer: string): FieldError[] {
  if (base.kind !== 'model' || base.model.adapter === undefined) return [];
  return [at(pointer, `is an adapter, and ${method} would put an adapter on it: use method full, or its base`)];
}

function checkSizes(spec: FineTuneSpec, shape: Architecture | null): FieldError[] {
  if (shape === null) return [];
  return [
    ...checkSequenceLength(spec.hyperparameters.sequenceLength, shape, '/hyperparameters'),
    ...checkRank(spec.lora, shape, '/lora'),
  ];
}

export const checkSequenceLength = (length: number, shape: Architecture, pointer: string): FieldError[] =>
  length <= shape.contextLength
    ? []
    : [at(`${pointer}/sequenceLength`, `must be at most the model's context length (${shape.contextLength})`)];

/** Of every layer that can be adapted (c_attn d x 3d, c_proj d x d and 4d x d, c_fc d x 4d) the narrower side is d. */
export const checkRank = (lora: FineTuneSpec['lora'], shape: Architecture, pointer: string): FieldError[] =>
  lora === undefined || lora.r <= shape.embeddingSize
    ? []
    : [at(`${pointer}/r`, `must be at most the narrower side of every target layer (${shape.embeddingSize})`)];

/** Bounds on checkpoints and validations. */
export function checkIntervals(
  settings: { readonly maxSteps: number; readonly checkpointEverySteps: number; readonly evaluateEverySteps: number },
  pointer = '/hyperparameters',
): FieldError[] {
  const { maxSteps, checkpointEverySteps, evaluateEverySteps } = settings;
  const errors: FieldError[] = [];
  if (maxSteps / checkpointEverySteps > MAX_CHECKPOINTS)
    errors.push(at(`${pointer}/checkpointEverySteps`, `would make more than ${MAX_CHECKPOINTS} checkpoints`));
  if (evaluateEverySteps > 0 && maxSteps / evaluateEverySteps > MAX_CHECKPOINTS)
    errors.push(at(`${pointer}/evaluateEverySteps`, `would make more than ${MAX_CHECKPOINTS} validations`));
  return errors;
}

function checkPreprocessing(spec: FineTuneSpec): FieldError[] {
  const { minCharacters = 1, maxCharacters } = spec.preprocessing ?? {};
  if (maxCharacters === undefined || maxCharacters >= minCharacters) return [];
  return [at('/preprocessing/maxCharacters', `must be at least minCharacters (${minCharacters})`)];
}

function checkEvaluation(spec: FineTuneSpec): FieldError[] {
  const { suites, policy } = spec.evaluation;
  const noBase = 'config' in spec.base ? 'needs a base model; a random start has no value to compare with' : null;
  return [...checkSuites(suites, '/evaluation/suites'), ...checkPolicy(policy, suites, '/evaluation/policy', noBase)];
}
