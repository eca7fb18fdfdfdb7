import { Value } from '#typebox/value';
import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import { PreferenceConfig, type RlhfInput, type RlhfSpec } from '#lib/contracts/rlhf-job.ts';
import { checkAlignment } from '../alignment-rules.ts';
import { estimateAlignmentGpuSeconds, estimateEvaluationGpuSeconds } from '../estimate.ts';
import { checkDataset, checkModel, datasetIn, modelIn } from '../findings.ts';
import { checkRelease } from '../release-rules.ts';
import type { JobKind } from './job-kind.ts';
import { datasetOf, datasetReference, fillLora, modelOf, shapeOf } from './resolved.ts';

/** A model aligned with preferences. */
export const rlhf: JobKind<RlhfSpec, RlhfInput> = {
  spec: JOB_SPECS.rlhf,
  fill: (spec) => {
    if (spec['preprocessing'] === undefined) spec['preprocessing'] = Value.Default(PreferenceConfig, {});
    fillLora(spec, spec['technique']);
  },
  references: (spec) => ({
    datasets: referencesOf(spec).datasets,
    models: { base: referencesOf(spec).base },
    release: spec.release,
    ...(spec.release === undefined ? {} : { champion: { model: spec.model.name, orNewest: false } }),
  }),
  check: (spec, findings) => {
    const { datasets, base } = referencesOf(spec);
    return [
      ...checkDataset(datasets.preferences, datasetIn(findings, 'preferences'), 'preferences'),
      ...checkDataset(datasets.evaluation, datasetIn(findings, 'evaluation'), 'text'),
      ...checkModel(base, modelIn(findings, 'base')),
      ...checkAlignment(spec, modelIn(findings, 'base')),
      ...checkRelease(spec.release, findings),
    ];
  },
  /** Reward model, policy, and two evaluations of the result and its base. */
  estimate: (spec, findings, speed) => {
    const shape = shapeOf(modelIn(findings, 'base'));
    const load = {
      subjects: [shape, shape],
      textBytes: datasetOf(findings, 'evaluation').bytes,
      preferenceBytes: datasetOf(findings, 'preferences').bytes,
    };
    return (
      estimateAlignmentGpuSeconds(spec, shape, speed) +
      estimateEvaluationGpuSeconds({ ...load, suites: spec.safety.suites }, speed) +
      estimateEvaluationGpuSeconds({ ...load, suites: spec.quality.suites }, speed)
    );
  },
  input: (spec, findings, job) => ({
    jobId: job.jobId,
    project: job.project,
    spec,
    preferences: datasetOf(findings, 'preferences'),
    evaluation: datasetOf(findings, 'evaluation'),
    base: modelOf(modelIn(findings, 'base')),
    champion: findings.champion?.version ?? null,
    configDigest: job.digestOf(spec),
    codeCommit: job.codeCommit,
  }),
};

const referencesOf = (spec: RlhfSpec) => ({
  datasets: {
    preferences: datasetReference(spec.preferences, '/spec/preferences'),
    evaluation: datasetReference(spec.evaluationDataset, '/spec/evaluationDataset'),
  },
  base: { reference: spec.base.model, pointer: '/spec/base/model' },
});
