import type { EvalOnlyInput, EvalOnlySpec, EvaluationSubject, ResolvedSubject } from '#lib/contracts/eval-only-job.ts';
import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { estimateEvaluationGpuSeconds } from '../estimate.ts';
import {
  at,
  checkDataset,
  checkModel,
  datasetIn,
  type Findings,
  modelIn,
  type NamedArtifacts,
  type NamedModel,
} from '../findings.ts';
import { checkPolicy, checkSuites, refusePreferenceAccuracy } from '../suite-rules.ts';
import type { JobKind } from './job-kind.ts';
import { datasetOf, datasetReference, modelOf, shapeOf, subjectOf } from './resolved.ts';

/** A report about a model, beside others on the same items. */
export const evalOnly: JobKind<EvalOnlySpec, EvalOnlyInput> = {
  spec: JOB_SPECS.eval_only,
  fill: () => undefined,
  references: (spec) => {
    const models: Record<string, NamedModel> = {};
    const artifacts: Record<string, NamedArtifacts> = {};
    for (const { role, subject, pointer } of subjectsOf(spec)) {
      if ('model' in subject) models[role] = { reference: subject.model, pointer: `${pointer}/model` };
      else artifacts[role] = { ...subject.artifact, pointer: `${pointer}/artifact` };
    }
    return { datasets: datasetsOf(spec), models, artifacts };
  },
  check: (spec, findings) => [
    ...checkDataset(datasetReference(spec.dataset, '/spec/dataset'), datasetIn(findings, 'dataset'), 'text'),
    ...(spec.preferences === undefined
      ? []
      : checkDataset(
          datasetReference(spec.preferences, '/spec/preferences'),
          datasetIn(findings, 'preferences'),
          'preferences',
        )),
    ...subjectsOf(spec).flatMap((named) => checkSubject(named, findings)),
    ...checkScores(spec),
  ],
  estimate: (spec, findings, speed) =>
    estimateEvaluationGpuSeconds(
      {
        suites: spec.suites,
        subjects: subjectsOf(spec).map(({ role }) => shapeOf(modelIn(findings, role))),
        textBytes: datasetOf(findings, 'dataset').bytes,
        preferenceBytes: spec.preferences === undefined ? 0 : datasetOf(findings, 'preferences').bytes,
      },
      speed,
    ),
  input: (spec, findings, job) => ({
    jobId: job.jobId,
    project: job.project,
    spec,
    subject: resolvedSubject('subject', spec.subject, findings),
    compareWith: spec.compareWith.map((subject, i) => resolvedSubject(comparedRole(i), subject, findings)),
    dataset: datasetOf(findings, 'dataset'),
    ...(spec.preferences === undefined ? {} : { preferences: datasetOf(findings, 'preferences') }),
    configDigest: job.digestOf(spec),
    codeCommit: job.codeCommit,
  }),
};

interface NamedSubject {
  readonly role: string;
  readonly subject: EvaluationSubject;
  readonly pointer: string;
}

const comparedRole = (index: number): string => `compareWith/${index}`;

const subjectsOf = (spec: EvalOnlySpec): NamedSubject[] => [
  { role: 'subject', subject: spec.subject, pointer: '/spec/subject' },
  ...spec.compareWith.map((subject, i) => ({
    role: comparedRole(i),
    subject,
    pointer: `/spec/compareWith/${i}`,
  })),
];

const datasetsOf = ({ dataset, preferences }: EvalOnlySpec) => ({
  dataset: datasetReference(dataset, '/spec/dataset'),
  ...(preferences === undefined ? {} : { preferences: datasetReference(preferences, '/spec/preferences') }),
});

function checkSubject({ role, subject, pointer }: NamedSubject, findings: Findings): FieldError[] {
  if ('model' in subject)
    return checkModel({ reference: subject.model, pointer: `${pointer}/model` }, modelIn(findings, role));
  const refusal = findings.artifacts[role]?.refusal ?? null;
  return refusal === null ? [] : [at(`${pointer}/artifact`, refusal)];
}

function checkScores({ suites, policy, compareWith, preferences }: EvalOnlySpec): FieldError[] {
  const alone = compareWith.length === 0;
  const missing = [...(preferences === undefined ? ['preferences'] : []), ...(alone ? ['compareWith'] : [])];
  return [
    ...checkSuites(suites, '/spec/suites'),
    ...(missing.length === 0 ? [] : refusePreferenceAccuracy(suites, '/spec/suites', missing.join(' and '))),
    ...checkPolicy(policy, suites, '/spec/policy', alone ? 'needs compareWith: its first member is the base' : null),
  ];
}

/** Artifacts are called by the start of their digest. */
const LABEL_DIGITS = 12;

function resolvedSubject(role: string, subject: EvaluationSubject, findings: Findings): ResolvedSubject {
  if ('model' in subject) return subjectOf(modelOf(modelIn(findings, role)));
  return { label: subject.artifact.digest.slice(0, LABEL_DIGITS), weights: subject.artifact };
}
