import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  checkpointPrefix,
  findNewestValidCheckpoint,
  type InvalidCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from './checkpoint-store.ts';
import { FileObjectStore } from './file-store.ts';
import { PART_BYTES } from './limits.ts';
import type { ObjectStore } from './port.ts';

const OWNER = { jobId: 'job-1', activity: 'run_training' };

let temporary: string;
let store: ObjectStore;
beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'trainyard-checkpoints-'));
  store = new FileObjectStore({ root: join(temporary, 'store') });
});
afterEach(() => rm(temporary, { recursive: true, force: true }));

async function save(epoch: number, step: number): Promise<void> {
  const folder = join(temporary, `e${epoch}-${step}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'weights'), randomBytes(2_000));
  await writeFile(join(folder, 'state.json'), JSON.stringify({ epoch, step }));
  await saveCheckpoint(store, { ...OWNER, epoch, step, folder });
}

const stored = (epoch: number, step: number, file: string): string =>
  join(temporary, 'store/objects', checkpointPrefix(OWNER, { epoch, step }), file);

async function newest(): Promise<{ found: string | null; invalid: InvalidCheckpoint[] }> {
  const invalid: InvalidCheckpoint[] = [];
  const found = await findNewestValidCheckpoint(store, OWNER, (checkpoint) => invalid.push(checkpoint));
  return { found: found === null ? null : `e${found.epoch}/${found.step}`, invalid };
}

test('a checkpoint lies below job, activity, epoch and an eight-digit step', async () => {
  await save(3, 120);
  expect(await store.head('checkpoints/job-1/run_training/e3/step-00000120/manifest.json')).not.toBeNull();
  const found = await findNewestValidCheckpoint(store, OWNER);
  expect(found).toMatchObject({
    epoch: 3,
    step: 120,
    manifestKey: 'checkpoints/job-1/run_training/e3/step-00000120/manifest.json',
    manifest: { createdBy: { ...OWNER, epoch: 3 }, files: [{ path: 'state.json' }, { path: 'weights' }] },
  });
});

test('without checkpoints there is none', async () => {
  expect(await newest()).toEqual({ found: null, invalid: [] });
});

test('the highest step wins over all epochs, of equal steps the higher epoch', async () => {
  await save(1, 100);
  await save(1, 20);
  await save(2, 60);
  expect((await newest()).found).toBe('e1/100');
  await save(2, 100);
  await save(10, 100);
  expect((await newest()).found).toBe('e10/100');
});

test('other jobs and activities are not looked at', async () => {
  await save(1, 10);
  await saveCheckpoint(store, { ...OWNER, jobId: 'job-10', epoch: 1, step: 50, folder: join(temporary, 'e1-10') });
  await saveCheckpoint(store, {
    ...OWNER,
    activity: 'run_training2',
    epoch: 1,
    step: 50,
    folder: join(temporary, 'e1-10'),
  });
  expect(await newest()).toEqual({ found: 'e1/10', invalid: [] });
});

test('saving the same checkpoint again is a no-op', async () => {
  await save(1, 10);
  const again = await saveCheckpoint(store, { ...OWNER, epoch: 1, step: 10, folder: join(temporary, 'e1-10') });
  expect(again).toMatchObject({ uploadedFiles: 0, skippedFiles: 2 });
});

test.each<[string, () => Promise<unknown>, string, string]>([
  ['has no manifest', () => rm(stored(1, 30, 'manifest.json')), 'ObjectNotFound', 'manifest is missing'],
  ['has a truncated file', () => truncate(stored(1, 30, 'weights'), 100), 'ChecksumMismatch', 'weights is truncated'],
  [
    'has one flipped bit',
    () => flip(stored(1, 30, 'weights')),
    'ChecksumMismatch',
    'weights does not have its recorded SHA-256',
  ],
  ['lacks a file', () => rm(stored(1, 30, 'state.json')), 'ObjectNotFound', 'state.json'],
  ['has a truncated manifest', () => truncate(stored(1, 30, 'manifest.json'), 40), 'ChecksumMismatch', 'manifest'],
])('a newest checkpoint that %s is reported and the one before is used', async (_what, damage, code, reason) => {
  await save(1, 10);
  await save(1, 20);
  await save(1, 30);
  await damage();
  const { found, invalid } = await newest();
  expect(found).toBe('e1/20');
  expect(invalid).toEqual([
    expect.objectContaining({ epoch: 1, step: 30, code, reason: expect.stringContaining(reason) as string }),
  ]);
});

async function flip(path: string): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, 1_000);
  await file.write(Buffer.of((byte[0] ?? 0) ^ 4), 0, 1, 1_000);
  await file.close();
}

test('when all are damaged there is none, and each is reported from newest to oldest', async () => {
  for (const step of [10, 20, 30]) {
    await save(1, step);
    await rm(stored(1, step, 'manifest.json'));
  }
  const { found, invalid } = await newest();
  expect(found).toBeNull();
  expect(invalid.map(({ step }) => step)).toEqual([30, 20, 10]);
});

test('a file too large for the memory is verified too', async () => {
  const folder = join(temporary, 'large');
  await mkdir(folder);
  await writeFile(join(folder, 'weights'), randomBytes(PART_BYTES + 1));
  await saveCheckpoint(store, { ...OWNER, epoch: 1, step: 10, folder });
  expect(await newest()).toEqual({ found: 'e1/10', invalid: [] });
  await flip(stored(1, 10, 'weights'));
  expect(await newest()).toMatchObject({ found: null, invalid: [{ code: 'ChecksumMismatch' }] });
});

test('a manifest that names a file with another digest than the store holds is invalid', async () => {
  await save(1, 10);
  const key = `${checkpointPrefix(OWNER, { epoch: 1, step: 20 })}/manifest.json`;
  const other = await store.get(`${checkpointPrefix(OWNER, { epoch: 1, step: 10 })}/manifest.json`);
  await store.put(key, Buffer.from(other.toString().replace(/"sha256":"[0-9a-f]{4}/, '"sha256":"0000')));
  const { found, invalid } = await newest();
  expect(found).toBe('e1/10');
  expect(invalid).toEqual([expect.objectContaining({ step: 20, code: 'ChecksumMismatch' })]);
});

test('a store that does not answer is thrown, never taken for damage', async () => {
  await save(1, 10);
  const broken = new Proxy(store, {
    get: (target, name) =>
      name === 'get'
        ? () => Promise.reject(Object.assign(new Error('down'), { code: 'StoreUnavailable' }))
        : (Reflect.get(target, name, target) as () => unknown).bind(target),
  });
  await expect(findNewestValidCheckpoint(broken, OWNER)).rejects.toThrow('down');
});

test('pruning keeps the newest two and the best, and is idempotent', async () => {
  for (const step of [10, 20, 30, 40, 50]) await save(1, step);
  const losses = new Map([
    [10, 2.5],
    [20, 1.5],
    [30, 2],
    [40, 1.75],
  ]);
  const lossAt = (step: number): number | null => losses.get(step) ?? null;
  const removed = await pruneCheckpoints(store, OWNER, { lossAt });
  expect(removed.map(({ step }) => step)).toEqual([30, 10]);
  expect(await pruneCheckpoints(store, OWNER, { lossAt })).toEqual([]);
  const left = new Set<string>();
  for await (const { key } of store.list('')) left.add(key.split('/').at(-2) ?? '');
  expect([...left]).toEqual(['step-00000020', 'step-00000040', 'step-00000050']);
});

test('of two equally good checkpoints the newer one is the best, and an incomplete one never is', async () => {
  for (const step of [10, 20, 30, 40, 50]) await save(1, step);
  await rm(stored(1, 10, 'manifest.json'));
  const lossAt = (step: number): number => (step === 10 ? 1 : step <= 30 ? 2 : 3);
  const removed = await pruneCheckpoints(store, OWNER, { keepLast: 1, lossAt });
  expect(removed.map(({ step }) => step)).toEqual([40, 20, 10]);
});

test('pruning leaves an incomplete checkpoint that is newer than the kept ones, and removes an older one', async () => {
  for (const step of [5, 10, 20, 30]) await save(1, step);
  await rm(stored(1, 30, 'manifest.json'));
  await rm(stored(1, 5, 'manifest.json'));
  expect(await pruneCheckpoints(store, OWNER)).toEqual([{ epoch: 1, step: 5 }]);
  expect((await newest()).found).toBe('e1/20');
});
