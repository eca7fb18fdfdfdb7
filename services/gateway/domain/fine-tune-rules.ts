import { type FineTuneSpec, metricsOfSuite, type ResolvedDataset, type ResolvedModel } from '#lib/contracts/jobs.ts';
import type { FieldError } from '#lib/kernel/errors.ts';

/** The shape of a model, as `register_model` records it in the version's tag `architecture`. */
export interface Architecture {
  readonly layers: number;
  readonly heads: number;
  readonly embeddingSize: number;
  readonly contextLength: number;
  readonly vocabularySize: number;
}

/** What the spec's `dataset` turned out to be, within the job's project. */
export type DatasetFinding =
  | { readonly found: true; readonly dataset: ResolvedDataset }
  | { readonly found: false; readonly missing: 'name' | 'version' };

/** What the spec's `base` turned out to be, within the job's project. */
export type BaseFinding =
  | { readonly kind: 'config' }
  | { readonly kind: 'absent' }
  /** The registry has the version but not what it takes to load it. */
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'model'; readonly model: ResolvedModel; readonly architecture: Architecture | null };

export interface FineTuneFindings {
  readonly dataset: DatasetFinding;
  readonly base: BaseFinding;
}

/** Checkpoints and validations a job may ask for: each is an upload or a pause of the trainer. */
const MAX_CHECKPOINTS = 10_000;

/**
 * What no schema can say about a fine-tuning spec, given what its references are. Every broken rule is reported, with a pointer into the
 * submitted body; empty = the job can run.
 */
export function checkFineTune(spec: FineTuneSpec, findings: FineTuneFindings): FieldError[] {
  return [
    ...checkDataset(spec, findings.dataset),
    ...checkBase(spec, findings.base),
    ...checkMethod(spec, findings.base),
    ...checkSizes(spec, architectureOf(spec, findings.base)),
    ...checkPreprocessing(spec),
    ...checkEvaluation(spec),
  ];
}

/** The shape the job trains: the config's, or the base's when it is recorded. */
export function architectureOf(spec: FineTuneSpec, base: BaseFinding): Architecture | null {
  if ('config' in spec.base)
    return { ...spec.base.config, vocabularySize: spec.preprocessing?.vocabularySize ?? DEFAULT_VOCABULARY };
  return base.kind === 'model' ? base.architecture : null;
}

/** The default of `PreprocessConfig.vocabularySize`. */
const DEFAULT_VOCABULARY = 1024;

function checkDataset(spec: FineTuneSpec, finding: DatasetFinding): FieldError[] {
  if (finding.found) return [];
  return finding.missing === 'name'
    ? [at('/spec/dataset/name', `there is no dataset ${spec.dataset.name} in the project`)]
    : [at('/spec/dataset/version', `dataset ${spec.dataset.name} has no version ${spec.dataset.version}`)];
}

function checkBase(spec: FineTuneSpec, base: BaseFinding): FieldError[] {
  if (base.kind === 'unusable') return [at('/spec/base/model', base.reason)];
  if (base.kind === 'absent' && 'model' in spec.base)
    return [at('/spec/base/model', `there is no model ${spec.base.model} in the project`)];
  if ('config' in spec.base && spec.base.config.embeddingSize % spec.base.config.heads !== 0)
    return [at('/spec/base/config/embeddingSize', `must be divisible by heads (${spec.base.config.heads})`)];
  return [];
}

function checkMethod(spec: FineTuneSpec, base: BaseFinding): FieldError[] {
  if (spec.method === 'full')
    return spec.lora === undefined ? [] : [at('/spec/lora', 'is only for the methods lora and qlora')];
  if ('config' in spec.base)
    return [at('/spec/method', `${spec.method} trains an adapter of a model: it needs base.model, not base.config`)];
  if (base.kind === 'model' && base.model.adapter !== undefined)
    return [
      at(
        '/spec/base/model',
        `is an adapter, and ${spec.method} would put an adapter on it: use method full, or its base`,
      ),
    ];
  return [];
}

function checkSizes(spec: FineTuneSpec, shape: Architecture | null): FieldError[] {
  if (shape === null) return [];
  const errors: FieldError[] = [];
  const { sequenceLength } = spec.hyperparameters;
  if (sequenceLength > shape.contextLength)
    errors.push(
      at('/spec/hyperparameters/sequenceLength', `must be at most the model's context length (${shape.contextLength})`),
    );
  // Of every layer that can be adapted (c_attn d x 3d, c_proj d x d and 4d x d, c_fc d x 4d) the narrower side is d.
  if (spec.lora !== undefined && spec.lora.r > shape.embeddingSize)
    errors.push(at('/spec/lora/r', `must be at most the narrower side of every target layer (${shape.embeddingSize})`));
  return errors;
}

function checkPreprocessing(spec: FineTuneSpec): FieldError[] {
  const { maxSteps, checkpointEverySteps, evaluateEverySteps } = spec.hyperparameters;
  const errors: FieldError[] = [];
  if (maxSteps / checkpointEverySteps > MAX_CHECKPOINTS)
    errors.push(
      at('/spec/hyperparameters/checkpointEverySteps', `would make more than ${MAX_CHECKPOINTS} checkpoints`),
    );
  if (evaluateEverySteps > 0 && maxSteps / evaluateEverySteps > MAX_CHECKPOINTS)
    errors.push(at('/spec/hyperparameters/evaluateEverySteps', `would make more than ${MAX_CHECKPOINTS} validations`));
  const { minCharacters = 1, maxCharacters } = spec.preprocessing ?? {};
  if (maxCharacters !== undefined && maxCharacters < minCharacters)
    errors.push(at('/spec/preprocessing/maxCharacters', `must be at least minCharacters (${minCharacters})`));
  return errors;
}

function checkEvaluation(spec: FineTuneSpec): FieldError[] {
  const errors: FieldError[] = [];
  const { suites, policy } = spec.evaluation;
  const names = suites.map((suite) => (suite.suite === 'cloze' ? `cloze ${suite.items}` : suite.suite));
  names.forEach((name, index) => {
    if (names.indexOf(name) < index) errors.push(at(`/spec/evaluation/suites/${index}`, `${name} is listed twice`));
  });
  const metrics = suites.flatMap((suite) => metricsOfSuite(suite));
  policy.forEach((threshold, index) => {
    const pointer = `/spec/evaluation/policy/${index}`;
    if (!metrics.includes(threshold.metric))
      errors.push(at(`${pointer}/metric`, `is not produced by the chosen suites; they produce ${metrics.join(', ')}`));
    if (threshold.relativeTo === 'base' && 'config' in spec.base)
      errors.push(at(`${pointer}/relativeTo`, 'needs a base model; a random start has no value to compare with'));
  });
  return errors;
}

const at = (pointer: string, message: string): FieldError => ({ pointer, message });
