import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import type { SourceDocument } from '#lib/datasets/documents/source-document.ts';
import { readVerifiedLines } from '#lib/datasets/verified-lines.ts';
import { assertNever, TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { whenRegistryServes } from '#lib/worker/registry-wait.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { type RowHash, rowOfLine, type RowSet } from '../data/row-hashes.ts';
import { knownRowsOf } from '../domain/training-data-tags.ts';

type Context = ActivityContext<ActivityInput<'assemble_training_data'>>;

/** Gives every row of a dataset, its hash first, as it stands there. */
export type ReadRows = (of: ResolvedDataset, onRow: (row: RowHash, document: SourceDocument) => void) => Promise<void>;

/** Bytes of a row manifest: those of all rows that one assembly remembers, and to spare. */
const MAX_MANIFEST_BYTES = 1_024 * 1_024 * 1_024;
const MAX_MANIFEST_LINE = 128;

/**
 * The rows that the version in production was trained on, from its row manifest or, without one, its dataset; none for `full` and for a model that
 * has no version. `NotFound` for a version that is not registered; `TrainingDataUnknown` when it says neither.
 */
export async function addKnownRows(
  platform: WorkerPlatform,
  { input: { mode, former, dataset }, project, signal }: Context,
  known: RowSet,
  readRows: ReadRows,
): Promise<void> {
  if (mode === 'full' || former === null) return;
  const { name, version: number } = former;
  const version = await whenRegistryServes(platform, signal, (registry) => registry.getVersion(project, name, number));
  if (version === null) throw new TrainyardError('NotFound', `model ${name}/${number} is not registered`);
  const where = knownRowsOf(version);
  const add = (row: RowHash): void => {
    known.add(row);
  };
  switch (where.kind) {
    case 'manifest':
      return readManifestRows(platform, where, signal, add);
    case 'dataset': {
      const { datasetName, datasetVersion } = version.lineage;
      const { key, format, sha256 } = where;
      return readRows({ name: datasetName, version: Number(datasetVersion), format, key, sha256, bytes: 0 }, add);
    }
    case 'unknown':
      // The very file that is assembled now needs no tag.
      if (version.lineage.datasetDigest === dataset.sha256) return readRows(dataset, add);
      throw new TrainyardError(
        'TrainingDataUnknown',
        `model ${name}/${number} says neither which rows nor which dataset file it was trained on`,
      );
    default:
      return assertNever(where);
  }
}

async function readManifestRows(
  platform: WorkerPlatform,
  { key, digest }: { readonly key: string; readonly digest: string },
  signal: AbortSignal,
  onRow: (row: RowHash) => void,
): Promise<void> {
  // Beside the datasets: kept for the next retrain, and tidied with them.
  const folder = join(platform.workspaceDir, 'datasets');
  await mkdir(folder, { recursive: true });
  const path = join(folder, digest);
  await platform.store.getToFile(key, path, { sha256: digest, signal });
  const limits = { maxBytes: MAX_MANIFEST_BYTES, maxLineBytes: MAX_MANIFEST_LINE };
  await readVerifiedLines({ path, expectedSha256: digest, ...limits, signal }, (line) => {
    const row = rowOfLine(line);
    if (row === null) throw new TrainyardError('ManifestInvalid', `${key} is no list of row hashes`);
    onRow(row);
  });
}
