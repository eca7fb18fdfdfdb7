import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { WorkerPlatform } from './worker-service.ts';

/** The local copy of a dataset version, verified by its digest; kept for later jobs. A version that is not in the store is `DatasetMissing`. */
export async function fetchDataset(
  platform: WorkerPlatform,
  dataset: ResolvedDataset,
  signal: AbortSignal,
): Promise<string> {
  const folder = join(platform.workspaceDir, 'datasets');
  await mkdir(folder, { recursive: true });
  const path = join(folder, dataset.sha256);
  try {
    await platform.store.getToFile(dataset.key, path, { sha256: dataset.sha256, signal });
  } catch (error) {
    if (!(error instanceof TrainyardError) || error.code !== 'ObjectNotFound') throw error;
    throw new TrainyardError(
      'DatasetMissing',
      `dataset ${dataset.name}/${dataset.version} is not in the object store`,
      { cause: error },
    );
  }
  return path;
}
