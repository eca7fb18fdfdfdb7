import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import type { RetrainInput, RetrainSpec } from '#lib/contracts/retrain-job.ts';
import { estimateEvaluationGpuSeconds, estimateFineTuneGpuSeconds } from '../estimate.ts';
import { architectureOf } from '../fine-tune-rules.ts';
import { checkRetrain } from '../retrain-rules.ts';
import type { JobKind } from './job-kind.ts';
import {
  datasetOf,
  datasetReference,
  fillTraining,
  modelOf,
  shapeOf,
  subjectOf,
  trainingFindings,
  trainingInput,
  trainingReferences,
} from './resolved.ts';

/** A new version of a model in production, on newer data. */
export const retrain: JobKind<RetrainSpec, RetrainInput> = {
  spec: JOB_SPECS.retrain,
  fill: (spec) => fillTraining(spec['training']),
  references: (spec) => {
    const { datasets, models } = trainingReferences(spec.training, '/spec/training');
    const excluded = spec.data.exclude.map(
      (dataset, i) => [excludeRole(i), datasetReference(dataset, `/spec/data/exclude/${i}`)] as const,
    );
    return {
      datasets: {
        ...datasets,
        comparison: datasetReference(spec.comparison.dataset, '/spec/comparison/dataset'),
        ...Object.fromEntries(excluded),
      },
      models,
      champion: { model: spec.model.name, orNewest: true },
      lastRetrainOf: spec.model.name,
      release: spec.release,
    };
  },
  check: checkRetrain,
  /** The fine-tuning, its own evaluation being part of its fixed seconds, and the comparison of two models on all of the comparison set. */
  estimate: (spec, findings, speed) => {
    const shape = architectureOf(spec.training, trainingFindings(spec.training, findings).base);
    const former = findings.champion === null ? [] : [shapeOf(findings.champion.finding)];
    return (
      estimateFineTuneGpuSeconds(spec.training, shape, speed) +
      estimateEvaluationGpuSeconds(
        {
          suites: spec.comparison.suites,
          subjects: [shape, ...former],
          textBytes: datasetOf(findings, 'comparison').bytes,
          preferenceBytes: 0,
        },
        speed,
      )
    );
  },
  input: (spec, findings, job) => {
    const { champion } = findings;
    const comparison = datasetOf(findings, 'comparison');
    return {
      jobId: job.jobId,
      project: job.project,
      spec,
      champion:
        champion === null
          ? null
          : { version: champion.version, stage: champion.stage, subject: subjectOf(modelOf(champion.finding)) },
      lastRetrainAtMs: findings.lastRetrainAtMs,
      submittedAtMs: job.submittedAtMs,
      training: trainingInput(spec.training, findings, job),
      exclude: [...spec.data.exclude.map((_, i) => datasetOf(findings, excludeRole(i))), comparison],
      comparison,
      configDigest: job.digestOf(spec),
      codeCommit: job.codeCommit,
    };
  },
};

const excludeRole = (index: number): string => `exclude/${index}`;
