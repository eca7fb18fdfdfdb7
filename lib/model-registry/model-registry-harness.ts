import { expect } from 'vitest';
import type { Lineage, ModelRegistry, NewModelVersion, RunRecord } from './port.ts';

/** One empty registry. */
export interface ModelRegistryHarness {
  /** Another client of the same registry, as in another process. */
  open(): ModelRegistry;
  close(): Promise<void>;
}

export const PROJECT = 'demo';

export const LINEAGE: Lineage = {
  jobId: 'job-1',
  runId: 'run-1',
  datasetName: 'tales',
  datasetVersion: '3',
  datasetDigest: 'd'.repeat(64),
  configDigest: 'c'.repeat(64),
  codeCommit: '0123abc',
  baseModelDigest: 'b'.repeat(64),
  evaluationReportDigest: 'e'.repeat(64),
  manifestDigest: 'f'.repeat(64),
};

export const newVersion = (
  name: string,
  sourceKey: string,
  changes: Partial<NewModelVersion> = {},
): NewModelVersion => ({
  project: PROJECT,
  name,
  sourceKey,
  manifestKey: `artifacts/${sourceKey}/manifest.json`,
  lineage: { ...LINEAGE, jobId: sourceKey },
  tags: { method: 'lora' },
  ...changes,
});

export const run = (runId: string, changes: Partial<RunRecord> = {}): RunRecord => ({
  runId,
  project: PROJECT,
  jobId: 'job-1',
  params: { learningRate: '0.001' },
  tags: { method: 'lora' },
  artifactUris: ['artifacts/job-1/manifest.json'],
  ...changes,
});

export const withCode = (code: string): unknown => expect.objectContaining({ code });
