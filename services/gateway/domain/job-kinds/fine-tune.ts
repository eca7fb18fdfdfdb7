import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import type { FineTuneInput, FineTuneSpec } from '#lib/contracts/jobs.ts';
import { estimateFineTuneGpuSeconds } from '../estimate.ts';
import { architectureOf, checkFineTune } from '../fine-tune-rules.ts';
import type { JobKind } from './job-kind.ts';
import { fillTraining, trainingFindings, trainingInput, trainingReferences } from './resolved.ts';

/** Data to a registered model. */
export const fineTune: JobKind<FineTuneSpec, FineTuneInput> = {
  spec: JOB_SPECS.fine_tune,
  fill: fillTraining,
  references: (spec) => trainingReferences(spec, '/spec'),
  check: (spec, findings) => checkFineTune(spec, trainingFindings(spec, findings)),
  estimate: (spec, findings, speed) =>
    estimateFineTuneGpuSeconds(spec, architectureOf(spec, trainingFindings(spec, findings).base), speed),
  input: (spec, findings, job) => ({
    jobId: job.jobId,
    project: job.project,
    spec,
    ...trainingInput(spec, findings, job),
  }),
};
