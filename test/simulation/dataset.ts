import type { DatasetFormat } from '#lib/contracts/jobs.ts';
import type { DatasetVersion } from '../../services/gateway/app/ports.ts';
import { digestOf } from './artifacts.ts';

const dataset = (name: string, format: DatasetFormat): Omit<DatasetVersion, 'project'> => ({
  name,
  version: 1,
  format,
  objectKey: `datasets/${name}/1`,
  sha256: digestOf(name),
  bytes: 1_000,
  createdAt: new Date(0),
});

/** The datasets that every project has. */
export const DATASETS: readonly Omit<DatasetVersion, 'project'>[] = [
  dataset('corpus', 'text'),
  dataset('held-out', 'text'),
  dataset('pairs', 'jsonl_preferences'),
];
