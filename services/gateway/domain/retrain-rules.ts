import type { RetrainSpec } from '#lib/contracts/retrain-job.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { at, checkDataset, type DatasetFinding, datasetIn, type Findings } from './findings.ts';
import { checkFineTune } from './fine-tune-rules.ts';
import { trainingFindings } from './job-kinds/resolved.ts';
import { checkRelease } from './release-rules.ts';
import { checkMetric, checkSuites, refusePreferenceAccuracy } from './suite-rules.ts';

/** What no schema can say about a retrain: it makes a version of its model, on rows that neither comparison nor an excluded set holds. */
export function checkRetrain(spec: RetrainSpec, findings: Findings): FieldError[] {
  const { training, model, comparison } = spec;
  return [
    ...(training.model.name === model.name
      ? []
      : [at('/spec/training/model/name', `must be the model that is retrained (${model.name})`)]),
    ...checkFineTune(training, trainingFindings(training, findings), '/spec/training'),
    ...checkSets(spec, findings),
    ...checkChampion(spec, findings),
    ...checkSuites(comparison.suites, '/spec/comparison/suites'),
    ...refusePreferenceAccuracy(comparison.suites, '/spec/comparison/suites', 'pairs, and a retrain compares on text'),
    ...checkMetric(comparison.metric, comparison.suites, '/spec/comparison/metric'),
    ...checkRelease(spec.release, findings),
  ];
}

/** Rows of the comparison set and of excluded ones are not trained on: the training set itself among them leaves nothing. */
function checkSets({ comparison, data }: RetrainSpec, findings: Findings): FieldError[] {
  const training = datasetIn(findings, 'training');
  const compared = datasetIn(findings, 'comparison');
  const errors = checkDataset({ ...comparison.dataset, pointer: '/spec/comparison/dataset' }, compared, 'text');
  if (sameBytes(training, compared))
    errors.push(
      at('/spec/comparison/dataset', 'is the training set: what a model has learnt by heart says nothing about it'),
    );
  data.exclude.forEach((dataset, i) => {
    const pointer = `/spec/data/exclude/${i}`;
    const excluded = datasetIn(findings, `exclude/${i}`);
    errors.push(...checkDataset({ ...dataset, pointer }, excluded, 'text'));
    if (sameBytes(training, excluded)) errors.push(at(pointer, 'is the training set: no row would be left'));
  });
  return errors;
}

const sameBytes = (one: DatasetFinding, other: DatasetFinding): boolean =>
  one.found && other.found && one.dataset.sha256 === other.dataset.sha256;

function checkChampion({ model, data, training }: RetrainSpec, { champion }: Findings): FieldError[] {
  if (champion === null)
    return data.mode === 'incremental'
      ? [at('/spec/data/mode', `incremental needs a version of ${model.name} whose data is known: use full`)]
      : [];
  // A random start trains a tokenizer of its own: its windows are other items than the champion's, and nothing could be compared in pairs.
  if ('config' in training.base)
    return [
      at(
        '/spec/training/base',
        `must be a registered model, such as ${model.name}@latest: a random start has another tokenizer, and could not be compared with version ${champion.version}`,
      ),
    ];
  return champion.finding.kind === 'unusable' ? [at('/spec/model/name', champion.finding.reason)] : [];
}
