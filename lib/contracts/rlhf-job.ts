import { type Static, Type } from '#typebox';
import { DatasetRef, ModelReference, Name, ResolvedDataset, ResolvedModel, Threshold } from './jobs.ts';
import { ReleaseSettings } from './release.ts';
import { DpoSpec, EvaluationSuite, LoraConfig, PpoSpec, RewardSpec, Technique } from './trainer-protocol.ts';

/** How `preprocess_preferences` splits and cuts pairs. The same config and the same dataset give the same bytes. */
export const PreferenceConfig = Type.Object(
  {
    /** Share of prompts (by hash) held out; the splits share no prompt. */
    validationFraction: Type.Number({ exclusiveMinimum: 0, maximum: 0.5, default: 0.1 }),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
  },
  { additionalProperties: false },
);
export type PreferenceConfig = Static<typeof PreferenceConfig>;

/** The reward model that PPO is trained against; trained on the same preferences. */
export const RewardModelSettings = Type.Object(
  { pooling: RewardSpec.properties.pooling, hyperparameters: RewardSpec.properties.hyperparameters },
  { additionalProperties: false },
);
export type RewardModelSettings = Static<typeof RewardModelSettings>;

const Suites = Type.Array(EvaluationSuite, { minItems: 1, maxItems: 16 });

/** What an `rlhf` job is asked to do. */
export const RlhfSpec = Type.Object(
  {
    /** A dataset of format `jsonl_preferences`. */
    preferences: DatasetRef,
    base: Type.Object({ model: ModelReference }, { additionalProperties: false }),
    /** Name under which the result is registered. */
    model: Type.Object({ name: Name }, { additionalProperties: false }),
    algorithm: Type.Union([Type.Literal('dpo'), Type.Literal('ppo')]),
    technique: Technique,
    lora: Type.Optional(LoraConfig),
    preprocessing: Type.Optional(PreferenceConfig),
    /** Required for `ppo`, refused for `dpo`, which needs no reward model. */
    rewardModel: Type.Optional(RewardModelSettings),
    /** Required for `dpo`, refused for `ppo`. */
    dpo: Type.Optional(DpoSpec.properties.hyperparameters),
    /** Required for `ppo`, refused for `dpo`. */
    ppo: Type.Optional(PpoSpec.properties.hyperparameters),
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 1 }),
    /** Texts for the suites that need some (held-out text, prompts of sampled continuations). */
    evaluationDataset: DatasetRef,
    /** The hard gate: a suite or metric that is missing fails it, and nothing leads past it. */
    safety: Type.Object(
      { suites: Suites, policy: Type.Array(Threshold, { minItems: 1, maxItems: 32 }) },
      { additionalProperties: false },
    ),
    quality: Type.Object(
      { suites: Suites, policy: Type.Array(Threshold, { maxItems: 32, default: [] }) },
      { additionalProperties: false },
    ),
    release: Type.Optional(ReleaseSettings),
  },
  { additionalProperties: false },
);
export type RlhfSpec = Static<typeof RlhfSpec>;

/** Input of the `rlhf` machine. */
export const RlhfInput = Type.Object({
  jobId: Type.String(),
  project: Name,
  spec: RlhfSpec,
  preferences: ResolvedDataset,
  evaluation: ResolvedDataset,
  base: ResolvedModel,
  /** The version of `spec.model` in production when the job was taken in; null = none. */
  champion: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
  configDigest: Type.String(),
  codeCommit: Type.String(),
});
export type RlhfInput = Static<typeof RlhfInput>;
