import type { DatasetFormat, JobType } from '#lib/contracts/jobs.ts';
import type { DatasetFinding, Findings, ModelFinding } from '../findings.ts';
import { parseSubmission } from '../submission.ts';
import { jobKind } from './registry.ts';

/** For tests of the kinds: specs that come through the front door, findings as the use cases would make them. */

const SHAPE = { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64, vocabularySize: 512 };
const weights = { manifestKey: 'm', digest: 'd' };

export const model = (name: string, version: number): ModelFinding => ({
  kind: 'model',
  model: { name, version, weights },
  architecture: SHAPE,
});
export const adapter: ModelFinding = {
  kind: 'model',
  model: { name: 'base', version: 2, weights, adapter: weights },
  architecture: SHAPE,
};

export const dataset = (name: string, format: DatasetFormat = 'text', bytes = 1_000): DatasetFinding => ({
  found: true,
  dataset: { name, version: 1, format, key: `k/${name}`, sha256: `sha of ${name}`, bytes },
});
export const absentDataset: DatasetFinding = { found: false, missing: 'name' };

export const findings = (change: Partial<Findings> = {}): Findings => ({
  datasets: {},
  models: {},
  artifacts: {},
  champion: null,
  lastRetrainAtMs: null,
  submittedBy: 'key-me',
  people: { role: 'approver', approvers: new Set(['key-a', 'key-b', 'key-c']) },
  ...change,
});

/** The spec with defaults, or the pointers of what its schema refuses. */
export function parsed(type: JobType, spec: object): { spec: unknown; pointers: string[] } {
  const result = parseSubmission({ type, idempotencyKey: 'k', spec }, undefined, false);
  return result.ok
    ? { spec: result.submission.spec, pointers: [] }
    : { spec: null, pointers: result.fields.map((field) => field.pointer) };
}

/** Pointers of everything that is wrong: of the schema's, else of the rules. */
export function refusals(type: JobType, spec: object, found: Findings): string[] {
  const { spec: filled, pointers } = parsed(type, spec);
  return filled === null
    ? pointers
    : jobKind(type)
        .check(filled, found)
        .map((error) => error.pointer);
}

const JOB = {
  jobId: 'job-1',
  project: 'one',
  submittedAtMs: 1_000,
  codeCommit: 'commit',
  digestOf: (value: unknown) => JSON.stringify(value).length.toString(16).padStart(64, '0'),
};

/** The machine's input of a spec that is accepted. */
export function inputOf(type: JobType, spec: object, found: Findings): unknown {
  const wrong = refusals(type, spec, found);
  if (wrong.length > 0) throw new Error(`refused: ${wrong.join(', ')}`);
  return jobKind(type).input(parsed(type, spec).spec, found, JOB);
}

export const secondsOf = (type: JobType, spec: object, found: Findings, gflops = 20): number =>
  jobKind(type).estimate(parsed(type, spec).spec, found, { gflops });
