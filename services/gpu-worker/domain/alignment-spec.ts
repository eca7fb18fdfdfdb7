import type { ActivityInput } from '#lib/contracts/activities.ts';
import type { DpoSpec, PpoSpec, RewardSpec, TrainerBase } from '#lib/contracts/trainer-protocol.ts';

/** A base with its files here. */
type LocalBase = Extract<TrainerBase, { kind: 'model' }>;

/** What is known only on the machine that trains. */
export interface LocalFolders extends Pick<RewardSpec, 'outputDir' | 'checkpointDir' | 'resumeFrom' | 'limits'> {
  readonly base: LocalBase;
  /** The pairs; for `ppo` the prompts. */
  readonly dataDir: string;
}

type Refusal = { readonly ok: false; readonly reason: string };

/** A reward model is always trained in full: it is thrown away after the job, so that the size of an adapter gains nothing. */
export const rewardSpec = (
  { settings, seed }: Pick<ActivityInput<'train_reward_model'>, 'settings' | 'seed'>,
  folders: LocalFolders,
): RewardSpec => ({
  protocol: 'trainyard-trainer/1',
  method: 'reward',
  technique: 'full',
  ...folders,
  seed,
  pooling: settings.pooling,
  hyperparameters: settings.hyperparameters,
});

type AlignmentInput = Pick<
  ActivityInput<'run_alignment_training'>,
  'algorithm' | 'technique' | 'lora' | 'dpo' | 'ppo' | 'rewardModel' | 'base' | 'seed'
>;

/** Why this training cannot be asked for, or the settings of its algorithm. Decided before anything is fetched. */
export function alignmentSettings(
  input: AlignmentInput,
):
  | { readonly ok: true; readonly algorithm: 'dpo'; readonly settings: DpoSpec['hyperparameters'] }
  | { readonly ok: true; readonly algorithm: 'ppo'; readonly settings: PpoSpec['hyperparameters'] }
  | Refusal {
  const { algorithm, technique, dpo, ppo, rewardModel, base } = input;
  // The result would be an adapter on an adapter, which no registered version can say.
  if (technique !== 'full' && base.adapter !== undefined)
    return refuse(`${technique} on ${base.name}/${base.version}: an adapter lies on a model of full weights`);
  switch (algorithm) {
    case 'dpo':
      if (rewardModel !== undefined) return refuse('dpo takes no reward model');
      if (ppo !== undefined) return refuse('dpo takes no settings of ppo');
      if (dpo === undefined) return refuse('the settings of dpo are missing');
      return { ok: true, algorithm, settings: dpo };
    case 'ppo':
      if (rewardModel === undefined) return refuse('ppo needs a reward model');
      if (dpo !== undefined) return refuse('ppo takes no settings of dpo');
      if (ppo === undefined) return refuse('the settings of ppo are missing');
      return { ok: true, algorithm, settings: ppo };
  }
}

/** The spec of an alignment whose settings were taken. `rewardModelDir` is read for `ppo` only. */
export function alignmentSpec(
  { technique, lora, seed }: AlignmentInput,
  accepted: Extract<ReturnType<typeof alignmentSettings>, { ok: true }>,
  folders: LocalFolders & Pick<PpoSpec, 'rewardModelDir'>,
): DpoSpec | PpoSpec {
  const { rewardModelDir, ...local } = folders;
  const common = {
    protocol: 'trainyard-trainer/1',
    technique,
    ...local,
    seed,
    ...(lora === undefined || technique === 'full' ? {} : { lora }),
  } as const;
  return accepted.algorithm === 'dpo'
    ? { ...common, method: 'dpo', hyperparameters: accepted.settings }
    : { ...common, method: 'ppo', rewardModelDir, hyperparameters: accepted.settings };
}

const refuse = (reason: string): Refusal => ({ ok: false, reason });
