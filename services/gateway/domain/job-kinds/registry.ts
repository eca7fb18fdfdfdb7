import type { Static } from '#typebox';
import type { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import type { HpoInput } from '#lib/contracts/hpo-job.ts';
import type { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import type { FineTuneInput, JobType } from '#lib/contracts/jobs.ts';
import type { RetrainInput } from '#lib/contracts/retrain-job.ts';
import type { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import { evalOnly } from './eval-only.ts';
import { fineTune } from './fine-tune.ts';
import { hpo } from './hpo.ts';
import type { JobKind } from './job-kind.ts';
import { retrain } from './retrain.ts';
import { rlhf } from './rlhf.ts';

interface Inputs {
  readonly fine_tune: FineTuneInput;
  readonly hpo: HpoInput;
  readonly retrain: RetrainInput;
  readonly rlhf: RlhfInput;
  readonly eval_only: EvalOnlyInput;
}

type Kinds = { readonly [T in JobType]: JobKind<Static<(typeof JOB_SPECS)[T]>, Inputs[T]> };

const JOB_KINDS: Kinds = { fine_tune: fineTune, hpo, retrain, rlhf, eval_only: evalOnly };

/** The kind of a job by its type, for specs that its own schema accepted. */
export const jobKind = (type: JobType): JobKind<unknown, object> => JOB_KINDS[type];
