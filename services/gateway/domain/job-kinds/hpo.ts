import type { HpoInput, HpoSpec } from '#lib/contracts/hpo-job.ts';
import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import { gridOf } from '#lib/search-space/grid.ts';
import { estimateEvaluationGpuSeconds, estimateFineTuneGpuSeconds } from '../estimate.ts';
import { architectureOf } from '../fine-tune-rules.ts';
import { checkRelease } from '../release-rules.ts';
import { checkSearch, costliestTrial } from '../search-rules.ts';
import type { JobKind } from './job-kind.ts';
import { datasetOf, fillTraining, trainingFindings, trainingInput, trainingReferences } from './resolved.ts';

/** The best of many fine-tunings. */
export const hpo: JobKind<HpoSpec, HpoInput> = {
  spec: JOB_SPECS.hpo,
  fill: (spec) => fillTraining(spec['trial']),
  references: (spec) => ({
    ...trainingReferences(spec.trial, '/spec/trial'),
    release: spec.release,
    ...(spec.release === undefined ? {} : { champion: { model: spec.trial.model.name, orNewest: false } }),
  }),
  check: (spec, findings) => [
    ...checkSearch(spec, trainingFindings(spec.trial, findings)),
    ...checkRelease(spec.release, findings),
  ],
  /** Every trial as if it were the costliest one of the space and none were pruned, plus the evaluation of the best one and its base. */
  estimate: (spec, findings, speed) => {
    const { base } = trainingFindings(spec.trial, findings);
    const shape = architectureOf(spec.trial, base);
    const { suites } = spec.trial.evaluation;
    const textBytes = datasetOf(findings, 'training').bytes;
    const subjects = base.kind === 'config' ? [shape] : [shape, shape];
    return (
      trialsOf(spec) * estimateFineTuneGpuSeconds(costliestTrial(spec), shape, speed) +
      estimateEvaluationGpuSeconds({ suites, subjects, textBytes, preferenceBytes: 0 }, speed)
    );
  },
  input: (spec, findings, job) => ({
    jobId: job.jobId,
    project: job.project,
    spec,
    trial: { ...trainingInput(spec.trial, findings, job), purpose: 'trial' },
    champion: findings.champion?.version ?? null,
    configDigest: job.digestOf(spec),
    codeCommit: job.codeCommit,
  }),
};

/** A grid may have fewer points than trials are asked for. */
function trialsOf({ sampler, space, trials }: HpoSpec): number {
  if (sampler.type !== 'grid') return trials;
  const grid = gridOf(space);
  return grid.ok ? Math.min(trials, grid.configurations.length) : trials;
}
