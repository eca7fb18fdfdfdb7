import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { sha256Of } from './durable-files.ts';
import { FileObjectStore } from './file-store.ts';
import { type Manifest, downloadFolder, readManifest, type TransferProgress, uploadFolder } from './manifest.ts';

const AUTHOR = { jobId: 'job-1', activity: 'upload_artifacts', epoch: 2 };
const PART_BYTES = 64 * 1_024;
/** Plenty, so that the tests do not depend on the disk they run on. */
const ROOMY = { freeBytes: () => Promise.resolve(1e15) };
const FILES: Record<string, Buffer> = {
  'config.json': Buffer.from('{}'),
  'model.safetensors': randomBytes(PART_BYTES * 3 + 5),
  'sub/deep/a=b c ü.txt': Buffer.from('odd name'),
  'sub/empty': Buffer.alloc(0),
  'sub.txt': Buffer.from('sorts between'),
};

let temporary: string;
let source: string;
let target: string;
let writes: string[];
let store: FileObjectStore;

async function fill(folder: string, files: Record<string, Buffer>): Promise<void> {
  for (const [path, body] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), body);
  }
}

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'trainyard-manifest-'));
  source = join(temporary, 'source');
  target = join(temporary, 'target/new');
  await fill(source, FILES);
  writes = [];
  store = new FileObjectStore({
    root: join(temporary, 'store'),
    partBytes: PART_BYTES,
    onWrite: ({ key }) => writes.push(key),
  });
});
afterEach(() => rm(temporary, { recursive: true, force: true }));

const withCode = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as string });

test('a folder comes back the same, and the manifest describes it in order of path', async () => {
  const uploaded = await uploadFolder(store, source, 'artifacts/job-1', { createdBy: AUTHOR });
  expect(uploaded).toMatchObject({ manifestKey: 'artifacts/job-1/manifest.json', uploadedFiles: 5, skippedFiles: 0 });
  expect(uploaded.uploadedBytes).toBe(Object.values(FILES).reduce((sum, body) => sum + body.length, 0));
  expect(uploaded.manifest.files.map(({ path }) => path)).toEqual(Object.keys(FILES).sort());
  expect(uploaded.manifest.files.map(({ sha256 }) => sha256)).toEqual(
    Object.keys(FILES)
      .sort()
      .map((path) => sha256Of(FILES[path] ?? '')),
  );
  expect(uploaded.digest).toBe(sha256Of(canonicalJson(uploaded.manifest)));
  expect((await store.head(uploaded.manifestKey))?.sha256).toBe(uploaded.digest);
  expect(uploaded.manifest.files[3]?.key).toBe('artifacts/job-1/sub/deep/a=3Db=20c=20=C3=BC.txt');

  expect(await downloadFolder(store, uploaded.manifestKey, target, ROOMY)).toEqual(uploaded.manifest);
  for (const [path, body] of Object.entries(FILES))
    expect((await readFile(join(target, path))).equals(body)).toBe(true);
});

test('the manifest is written last', async () => {
  await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  expect(writes.at(-1)).toBe('p/manifest.json');
  expect(writes.filter((key) => key === 'p/manifest.json')).toHaveLength(1);
});

test('uploading a folder again sends no body', async () => {
  const first = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  writes = [];
  const again = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  expect(writes).toEqual([]);
  expect(again).toEqual({ ...first, uploadedFiles: 0, skippedFiles: 5, uploadedBytes: 0 });
});

test('an upload that was interrupted sends only what is missing', async () => {
  const aborter = new AbortController();
  const interrupted = uploadFolder(store, source, 'p', {
    createdBy: AUTHOR,
    signal: aborter.signal,
    concurrency: 1,
    onProgress: ({ files }) => files === 2 && aborter.abort(),
  });
  await expect(interrupted).rejects.toThrow(/abort/i);
  expect(await store.head('p/manifest.json')).toBeNull();
  writes = [];
  expect(await uploadFolder(store, source, 'p', { createdBy: AUTHOR })).toMatchObject({
    uploadedFiles: 3,
    skippedFiles: 2,
  });
});

test('a prefix that holds other content is ObjectExists: nothing is overwritten', async () => {
  await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  await writeFile(join(source, 'config.json'), '{"other":1}');
  await expect(uploadFolder(store, source, 'p', { createdBy: AUTHOR })).rejects.toEqual(withCode('ObjectExists'));
  await writeFile(join(source, 'config.json'), '{}');
  const otherEpoch = uploadFolder(store, source, 'p', { createdBy: { ...AUTHOR, epoch: 3 } });
  await expect(otherEpoch).rejects.toEqual(withCode('ObjectExists'));
});

test('progress counts up to the whole', async () => {
  const seen: TransferProgress[] = [];
  const { manifestKey } = await uploadFolder(store, source, 'p', {
    createdBy: AUTHOR,
    onProgress: (p) => seen.push(p),
  });
  const totalBytes = Object.values(FILES).reduce((sum, body) => sum + body.length, 0);
  expect(seen.map(({ files }) => files)).toEqual([1, 2, 3, 4, 5]);
  expect(seen.at(-1)).toEqual({ files: 5, totalFiles: 5, bytes: totalBytes, totalBytes });
  const down: TransferProgress[] = [];
  await downloadFolder(store, manifestKey, target, { ...ROOMY, onProgress: (p) => down.push(p) });
  expect(down.at(-1)).toEqual({ files: 5, totalFiles: 5, bytes: totalBytes, totalBytes });
});

test.each([
  ['a symbolic link', (folder: string) => symlink('/etc/passwd', join(folder, 'link')), '/link'],
  ['a manifest of its own', (folder: string) => writeFile(join(folder, 'manifest.json'), '{}'), '/manifest.json'],
  ['a backslash in a name', (folder: string) => writeFile(join(folder, 'a\\b'), ''), '/a\\b'],
])('a folder with %s is refused, naming the file', async (_what, spoil, pointer) => {
  await spoil(source);
  await expect(uploadFolder(store, source, 'p', { createdBy: AUTHOR })).rejects.toMatchObject({
    code: 'ValidationFailed',
    fields: [{ pointer }],
  });
  expect(writes).toEqual([]);
});

test('a folder that is absent is WorkspaceUnavailable', async () => {
  const upload = uploadFolder(store, join(temporary, 'absent'), 'p', { createdBy: AUTHOR });
  await expect(upload).rejects.toEqual(withCode('WorkspaceUnavailable'));
});

test('a download keeps right files, replaces wrong ones, removes its own leftovers and nothing else', async () => {
  const { manifestKey } = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  await fill(target, {
    'config.json': Buffer.from('{}'),
    'model.safetensors': Buffer.from('half of it'),
    'foreign.txt': Buffer.from('not ours'),
    '.model.safetensors.0123456789ab.trainyard-partial': Buffer.from('left by a kill'),
  });
  const before = await stat(join(target, 'config.json'), { bigint: true });
  const neededBytes: number[] = [];
  await downloadFolder(store, manifestKey, target, {
    freeBytes: () => Promise.resolve(1e15),
    onProgress: ({ files }) => neededBytes.push(files),
  });
  expect(neededBytes).toEqual([2, 3, 4, 5]);
  expect((await stat(join(target, 'config.json'), { bigint: true })).mtimeNs).toBe(before.mtimeNs);
  expect((await readFile(join(target, 'model.safetensors'))).equals(FILES['model.safetensors'] ?? Buffer.of())).toBe(
    true,
  );
  expect((await readdir(target)).sort()).toEqual(['config.json', 'foreign.txt', 'model.safetensors', 'sub', 'sub.txt']);
});

test('a disk with less than the missing files and the margin is DiskFull before anything is written', async () => {
  const { manifestKey, uploadedBytes } = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  const download = (free: number): Promise<Manifest> =>
    downloadFolder(store, manifestKey, target, { marginBytes: 1_000, freeBytes: () => Promise.resolve(free) });
  await expect(download(uploadedBytes + 999)).rejects.toMatchObject({
    code: 'DiskFull',
    details: { neededBytes: uploadedBytes, marginBytes: 1_000, freeBytes: uploadedBytes + 999 },
  });
  expect(await readdir(target)).toEqual([]);
  await download(uploadedBytes + 1_000);
  await expect(download(0)).resolves.toMatchObject({ format: 'trainyard-manifest/1' });
});

test('a damaged file is ChecksumMismatch and is not delivered', async () => {
  const { manifestKey } = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  await truncate(join(temporary, 'store/objects/p/model.safetensors'), 1_000);
  await expect(downloadFolder(store, manifestKey, target, ROOMY)).rejects.toEqual(withCode('ChecksumMismatch'));
  expect(await readdir(target)).not.toContain('model.safetensors');
});

test('a symbolic link in the workspace is not followed', async () => {
  const { manifestKey } = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  const outside = join(temporary, 'outside');
  await mkdir(outside);
  await mkdir(target, { recursive: true });
  await symlink(outside, join(target, 'sub'));
  await expect(downloadFolder(store, manifestKey, target, ROOMY)).rejects.toEqual(withCode('WorkspaceUnavailable'));
  expect(await readdir(outside)).toEqual([]);
});

test('the digest that a caller knows is compared', async () => {
  const { manifestKey, digest, manifest } = await uploadFolder(store, source, 'p', { createdBy: AUTHOR });
  expect(await readManifest(store, manifestKey, { expectedDigest: digest })).toEqual(manifest);
  const other = { expectedDigest: sha256Of('other') };
  await expect(readManifest(store, manifestKey, other)).rejects.toEqual(withCode('ChecksumMismatch'));
  await expect(downloadFolder(store, manifestKey, target, { ...ROOMY, ...other })).rejects.toEqual(
    withCode('ChecksumMismatch'),
  );
  await expect(readManifest(store, 'p/absent/manifest.json')).rejects.toEqual(withCode('ObjectNotFound'));
});

const FILE = { path: 'a', key: 'p/a', bytes: 1, sha256: 'a'.repeat(64), partSize: 1_024 };
const MANIFEST = { format: 'trainyard-manifest/1', createdBy: AUTHOR, files: [FILE] };
test.each<[string, unknown]>([
  ['no JSON', '{'],
  ['another format', { ...MANIFEST, format: 'trainyard-manifest/2' }],
  ['no author', { ...MANIFEST, createdBy: undefined }],
  ['an unknown member', { ...MANIFEST, more: 1 }],
  ['a short digest', { ...MANIFEST, files: [{ ...FILE, sha256: 'aa' }] }],
  ['negative bytes', { ...MANIFEST, files: [{ ...FILE, bytes: -1 }] }],
  ['a parent path', { ...MANIFEST, files: [{ ...FILE, path: '../a' }] }],
  ['a parent path inside', { ...MANIFEST, files: [{ ...FILE, path: 'b/../../a' }] }],
  ['an absolute path', { ...MANIFEST, files: [{ ...FILE, path: '/etc/passwd' }] }],
  ['a backslash', { ...MANIFEST, files: [{ ...FILE, path: 'a\\..\\b' }] }],
  ['an empty segment', { ...MANIFEST, files: [{ ...FILE, path: 'a//b' }] }],
  ['a NUL', { ...MANIFEST, files: [{ ...FILE, path: 'a\0' }] }],
  ['a bad key', { ...MANIFEST, files: [{ ...FILE, key: '../a' }] }],
  ['a doubled path', { ...MANIFEST, files: [FILE, FILE] }],
  ['unsorted paths', { ...MANIFEST, files: [{ ...FILE, path: 'b' }, FILE] }],
])('a manifest with %s is ManifestInvalid, and nothing is downloaded', async (_what, manifest) => {
  const body = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
  await store.put('bad/manifest.json', Buffer.from(body));
  await expect(readManifest(store, 'bad/manifest.json')).rejects.toEqual(withCode('ManifestInvalid'));
  await expect(downloadFolder(store, 'bad/manifest.json', target, ROOMY)).rejects.toEqual(withCode('ManifestInvalid'));
  await expect(readdir(target)).rejects.toThrow('ENOENT');
});
