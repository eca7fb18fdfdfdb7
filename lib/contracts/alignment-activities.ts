import { Type } from '#typebox';
import { ManifestRef, Name, ResolvedDataset, ResolvedModel } from './jobs.ts';
import { PreferenceConfig, RewardModelSettings, RlhfSpec } from './rlhf-job.ts';
import { Technique } from './trainer-protocol.ts';

const Digest = Type.String({ pattern: '^[0-9a-f]{64}$' });
const StoredFile = Type.Object({ key: Type.String(), digest: Digest });

/** Every row of the pairs, before a GPU is asked for. Bad rows fail it for good, each kind with row numbers. */
const ValidatePreferenceData = {
  input: Type.Object({ preferences: ResolvedDataset, config: PreferenceConfig }),
  output: Type.Object({
    pairs: Type.Integer(),
    prompts: Type.Integer(),
    trainPairs: Type.Integer(),
    validationPairs: Type.Integer(),
    /** Things that are allowed and worth knowing, e.g. repeated prompts, with row numbers (first 20). */
    warnings: Type.Array(Type.Object({ kind: Type.String(), rows: Type.Array(Type.Integer()), count: Type.Integer() })),
    sha256: Digest,
  }),
};

/** Pairs and their prompts as token ids, with the tokenizer of the base (`PreferenceDataset`, `PromptDataset`). Content-addressed. */
const PreprocessPreferences = {
  input: Type.Object({ preferences: ResolvedDataset, base: ResolvedModel, config: PreferenceConfig }),
  output: Type.Object({
    pairs: ManifestRef,
    prompts: ManifestRef,
    trainPairs: Type.Integer(),
    validationPairs: Type.Integer(),
    vocabularySize: Type.Integer(),
  }),
};

/** What a training activity that stores its own result answers. */
const Trained = {
  artifacts: ManifestRef,
  files: Type.Array(Type.Object({ path: Type.String(), bytes: Type.Integer(), sha256: Digest })),
  runId: Type.String(),
  steps: Type.Integer(),
  metrics: Type.Record(Type.String(), Type.Number()),
  resumedFromStep: Type.Union([Type.Integer(), Type.Null()]),
  damagedCheckpoints: Type.Array(Type.String()),
};

const TrainRewardModel = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    base: ResolvedModel,
    pairs: ManifestRef,
    settings: RewardModelSettings,
    seed: Type.Integer(),
  }),
  output: Type.Object(Trained),
};

const RunAlignmentTraining = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    base: ResolvedModel,
    algorithm: RlhfSpec.properties.algorithm,
    technique: Technique,
    lora: RlhfSpec.properties.lora,
    dpo: RlhfSpec.properties.dpo,
    ppo: RlhfSpec.properties.ppo,
    /** For `dpo`. */
    pairs: ManifestRef,
    /** For `ppo`. */
    prompts: ManifestRef,
    /** Only for `ppo`. */
    rewardModel: Type.Optional(ManifestRef),
    seed: Type.Integer(),
  }),
  output: Type.Object(Trained),
};

/** Only ever started past the safety gate; refuses a gate decision that is not a pass. */
const RegisterAlignedModel = {
  input: Type.Object({
    jobId: Type.String(),
    project: Name,
    name: Name,
    runId: Type.String(),
    technique: Technique,
    artifacts: ManifestRef,
    preferences: ResolvedDataset,
    base: ResolvedModel,
    rewardModel: Type.Union([ManifestRef, Type.Null()]),
    safetyReport: StoredFile,
    safetyPassed: Type.Literal(true),
    qualityReport: StoredFile,
    configDigest: Digest,
    codeCommit: Type.String(),
    vocabularySize: Type.Integer(),
  }),
  output: Type.Object({
    name: Name,
    version: Type.Integer({ minimum: 1 }),
    stage: Type.String(),
    lineage: Type.Record(Type.String(), Type.String()),
  }),
};

export const ALIGNMENT_ACTIVITIES = {
  validate_preference_data: ValidatePreferenceData,
  preprocess_preferences: PreprocessPreferences,
  train_reward_model: TrainRewardModel,
  run_alignment_training: RunAlignmentTraining,
  register_aligned_model: RegisterAlignedModel,
} as const;
