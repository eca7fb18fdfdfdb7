import type { TSchema } from '#typebox';
import { EvalOnlySpec } from './eval-only-job.ts';
import { HpoSpec } from './hpo-job.ts';
import { FineTuneSpec, type JobType } from './jobs.ts';
import { RetrainSpec } from './retrain-job.ts';
import { RlhfSpec } from './rlhf-job.ts';

/** The schema of a job's `spec` by type. */
export const JOB_SPECS = {
  fine_tune: FineTuneSpec,
  hpo: HpoSpec,
  retrain: RetrainSpec,
  rlhf: RlhfSpec,
  eval_only: EvalOnlySpec,
} as const satisfies Readonly<Record<JobType, TSchema>>;
