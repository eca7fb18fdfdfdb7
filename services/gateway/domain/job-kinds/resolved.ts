import type { ResolvedSubject } from '#lib/contracts/eval-only-job.ts';
import type { FineTuneInput, FineTuneSpec, ResolvedDataset, ResolvedModel } from '#lib/contracts/jobs.ts';
import { LoraConfig } from '#lib/contracts/trainer-protocol.ts';
import { PreprocessConfig } from '#lib/contracts/preprocess-config.ts';
import { Value } from '#typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import type { Architecture, DatasetReference, Findings, ModelFinding, NamedModel } from '../findings.ts';
import { datasetIn, modelIn } from '../findings.ts';
import type { BaseFinding, FineTuneFindings } from '../fine-tune-rules.ts';
import type { JobFacts } from './job-kind.ts';

/** A dataset that was found; `check` came before. */
export function datasetOf(findings: Findings, role: string): ResolvedDataset {
  const finding = datasetIn(findings, role);
  invariant(finding.found, `dataset ${role} was checked`);
  return finding.dataset;
}

/** A model that was found; `check` came before. */
export function modelOf(finding: ModelFinding): ResolvedModel {
  invariant(finding.kind === 'model', 'the model was checked');
  return finding.model;
}

export const shapeOf = (finding: ModelFinding): Architecture | null =>
  finding.kind === 'model' ? finding.architecture : null;

/** A registered version as a subject of an evaluation. */
export const subjectOf = ({ name, version, weights, adapter }: ResolvedModel): ResolvedSubject => ({
  label: `${name}/${version}`,
  weights,
  ...(adapter === undefined ? {} : { adapter }),
  model: { name, version },
});

export const datasetReference = (
  dataset: { readonly name: string; readonly version: number | 'latest' },
  pointer: string,
): DatasetReference => ({ ...dataset, pointer });

/** Roles of what a fine-tuning names, wherever its spec lies. */
export function trainingReferences(
  spec: FineTuneSpec,
  root: string,
): { datasets: Record<string, DatasetReference>; models: Record<string, NamedModel> } {
  return {
    datasets: { training: datasetReference(spec.dataset, `${root}/dataset`) },
    models: 'model' in spec.base ? { base: { reference: spec.base.model, pointer: `${root}/base/model` } } : {},
  };
}

export const trainingFindings = (spec: FineTuneSpec, findings: Findings): FineTuneFindings => ({
  dataset: datasetIn(findings, 'training'),
  base: baseFinding(spec, findings),
});

const baseFinding = (spec: FineTuneSpec, findings: Findings): BaseFinding =>
  'config' in spec.base ? { kind: 'config' } : modelIn(findings, 'base');

/** A fine-tuning's input but for the job it belongs to. */
export function trainingInput(
  spec: FineTuneSpec,
  findings: Findings,
  { codeCommit, digestOf }: JobFacts,
): Omit<FineTuneInput, 'jobId' | 'project' | 'spec'> {
  return {
    dataset: datasetOf(findings, 'training'),
    base:
      'config' in spec.base
        ? { kind: 'config', config: spec.base.config }
        : { kind: 'model', model: modelOf(modelIn(findings, 'base')) },
    configDigest: digestOf(spec),
    codeCommit,
  };
}

/** Groups of a fine-tuning that are optional as a whole but needed by what it asks for. */
export function fillTraining(spec: unknown): void {
  if (!isObject(spec)) return;
  if (spec['preprocessing'] === undefined) spec['preprocessing'] = Value.Default(PreprocessConfig, {});
  if (spec['method'] !== 'full') fillLora(spec, spec['method']);
}

/** Settings of an adapter, where one is trained. */
export function fillLora(spec: Record<string, unknown>, technique: unknown): void {
  if (spec['lora'] === undefined && (technique === 'lora' || technique === 'qlora'))
    spec['lora'] = Value.Default(LoraConfig, {});
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);
