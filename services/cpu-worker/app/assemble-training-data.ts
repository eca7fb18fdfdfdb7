import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { ResolvedDataset } from '#lib/contracts/jobs.ts';
import { prepareDocument } from '#lib/datasets/documents/prepared-document.ts';
import { rowText } from '#lib/datasets/documents/row-text.ts';
import { readDocuments } from '#lib/datasets/read-documents.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { fetchDataset } from '#lib/worker/dataset-file.ts';
import { SCRATCH_PREFIX } from '#lib/worker/derived-folder.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { HashedFile, type WrittenText } from '../data/hashed-file.ts';
import { manifestParts, rowHash, RowMemory, type RowSet } from '../data/row-hashes.ts';
import { addKnownRows, type ReadRows } from './known-rows.ts';

type Context = ActivityContext<ActivityInput<'assemble_training_data'>>;
type Output = ActivityOutput<'assemble_training_data'>;
type Counts = Pick<Output, 'rows' | 'excludedRows' | 'knownRows'>;

/**
 * The rows that a retrain trains on: those of the dataset that occur in no excluded set and, for `incremental`, are not known to the version in
 * production; equal rows once, in the dataset's order. Both files are stored below `datasets-assembled/` under the digest of the data, so an
 * attempt that runs twice gives the same objects. Rows are read one by one; what is remembered is a hash a row.
 *
 * The row manifest of an incremental assembly also names the rows that were known: it says what a model trained on both has seen, and the next
 * retrain takes none of them for new. Throws what reading the datasets throws, `TrainingDataUnknown`, `TooFewTrainingRows`.
 */
export async function assembleTrainingData(platform: WorkerPlatform, context: Context): Promise<Output> {
  const { dataset, exclude, minimumRows } = context.input;
  const memory = new RowMemory();
  const readRows = rowReader(platform, context);
  // 1. What must not be trained on, and what need not.
  const excluded = memory.set();
  for (const set of exclude) await readRows(set, (row) => excluded.add(row));
  const known = memory.set();
  await addKnownRows(platform, context, known, readRows);
  await mkdir(platform.workspaceDir, { recursive: true });
  const scratch = await mkdtemp(join(platform.workspaceDir, SCRATCH_PREFIX));
  try {
    // 2. The rest.
    const taken = memory.set();
    const { data, counts } = await select(readRows, dataset, join(scratch, 'data'), { excluded, known, taken });
    if (counts.rows < minimumRows) throw tooFewRows(counts, minimumRows);
    // 3. Both files under the digest of the data.
    const rows = await writeManifest(join(scratch, 'rows'), taken, known);
    return { ...(await store(platform, context, data, rows)), ...counts };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Reads the rows of datasets, one dataset after the other; progress is the bytes of all of them. Rows without text are none. */
function rowReader(platform: WorkerPlatform, { signal, progress }: Context): ReadRows {
  let before = 0;
  return async (of, onRow) => {
    const path = await fetchDataset(platform, of, signal);
    let read = 0;
    const onProgress = (done: number): void => {
      read = done;
      progress({ step: before + done, stepsTotal: 0 });
    };
    await readDocuments({ path, format: of.format, sourceDigest: of.sha256, signal, onProgress }, (document) => {
      const prepared = prepareDocument(document, {});
      if (prepared.text !== '') onRow(rowHash(prepared), document);
    });
    before += read;
  };
}

async function select(
  readRows: ReadRows,
  dataset: ResolvedDataset,
  path: string,
  { excluded, known, taken }: Readonly<Record<'excluded' | 'known' | 'taken', RowSet>>,
): Promise<{ data: WrittenText; counts: Counts }> {
  const file = new HashedFile(path);
  const counts = { rows: 0, excludedRows: 0, knownRows: 0 };
  try {
    await readRows(dataset, (row, document) => {
      if (excluded.has(row)) counts.excludedRows += 1;
      else if (known.has(row)) counts.knownRows += 1;
      else if (taken.add(row)) {
        // As it stood there: preprocessing normalises it like any other dataset.
        file.add(rowText(dataset.format, document));
        counts.rows += 1;
      }
    });
  } catch (error) {
    file.abandon();
    throw error;
  }
  return { data: file.close(), counts };
}

async function writeManifest(path: string, ...sets: readonly RowSet[]): Promise<WrittenText> {
  const file = new HashedFile(path);
  for (const part of manifestParts(...sets)) {
    file.add(part);
    await setImmediate();
  }
  return file.close();
}

const tooFewRows = (counts: Counts, minimumRows: number): TrainyardError =>
  new TrainyardError(
    'TooFewTrainingRows',
    `${counts.rows} rows are left, at least ${minimumRows} are needed; ${counts.excludedRows} are in an excluded set, ${counts.knownRows} are known to the version in production`,
    { details: { ...counts, minimumRows } },
  );

async function store(
  platform: WorkerPlatform,
  { input: { dataset }, project, signal }: Context,
  data: WrittenText,
  rows: WrittenText,
): Promise<Pick<Output, 'dataset' | 'rowManifest'>> {
  const prefix = `datasets-assembled/${project}/${data.sha256}`;
  const extension = dataset.format === 'text' ? 'txt' : 'jsonl';
  const stored = await platform.store.putFile(`${prefix}/data.${extension}`, data.path, {
    sha256: data.sha256,
    signal,
  });
  // The rows that were known differ with the version in production, the data may be the same.
  const manifest = await platform.store.putFile(`${prefix}/rows-${rows.sha256}.txt`, rows.path, {
    sha256: rows.sha256,
    signal,
  });
  const { name, version, format } = dataset;
  return {
    dataset: { name, version, format, key: stored.key, sha256: data.sha256, bytes: data.bytes },
    rowManifest: { key: manifest.key, digest: rows.sha256 },
  };
}
