import { type Static, Type } from '#typebox';
import { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import { SamplerSettings } from '#lib/search-space/sampler-settings.ts';
import { SearchSpace } from '#lib/search-space/search-space.ts';
import { Direction } from '#lib/search-space/trial.ts';
import { FineTuneInput, FineTuneSpec, Name } from './jobs.ts';
import { ReleaseSettings } from './release.ts';

/**
 * What an `hpo` job is asked to do. A parameter's name is a member of `trial.hyperparameters` (`learningRate`), of `trial.lora`
 * (`lora.r`), or `method`, `seed`; its value replaces the one in `trial`.
 */
export const HpoSpec = Type.Object(
  {
    /** The fine-tuning that every trial runs; its evaluation and its model name are those of the best one. */
    trial: FineTuneSpec,
    space: SearchSpace,
    sampler: SamplerSettings,
    /** A curve that the trainer reports while it runs: the last point of it is the trial's value. */
    objective: Type.Object(
      { metric: Type.String({ minLength: 1, maxLength: 200, default: 'validation.loss' }), direction: Direction },
      { additionalProperties: false },
    ),
    pruning: PruningSettings,
    trials: Type.Integer({ minimum: 1, maximum: 1_000 }),
    /** Trials that run at once, at most; the lanes and the project's cap limit it further. */
    maxConcurrent: Type.Integer({ minimum: 1, maximum: 1_000 }),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
    release: Type.Optional(ReleaseSettings),
  },
  { additionalProperties: false },
);
export type HpoSpec = Static<typeof HpoSpec>;

/** Input of the `hpo` machine: `trial` is a fine-tuning's input with everything resolved but the job it belongs to. */
export const HpoInput = Type.Object({
  jobId: Type.String(),
  project: Name,
  spec: HpoSpec,
  trial: Type.Omit(FineTuneInput, ['jobId', 'project', 'spec']),
  /** The version in production when the job was taken in, for the canary; null = none. */
  champion: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
  configDigest: Type.String(),
  codeCommit: Type.String(),
});
export type HpoInput = Static<typeof HpoInput>;
