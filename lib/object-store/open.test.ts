import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { openObjectStore } from './open.ts';
import { S3ObjectStore } from './s3-store.ts';

test('file:///dir opens a folder, and nothing is made before it is used', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'trainyard open '));
  try {
    const store = openObjectStore(pathToFileURL(join(folder, 'a store')).href);
    expect(await readdir(folder)).toEqual([]);
    await store.put('a', Buffer.from('x'));
    expect(await readdir(join(folder, 'a store/objects'))).toEqual(['a']);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('s3://bucket/prefix opens a bucket without asking anybody', () => {
  expect(openObjectStore('s3://bucket/prefix?endpoint=http://127.0.0.1:1')).toBeInstanceOf(S3ObjectStore);
});

test.each([
  '',
  'dir',
  'gs://bucket/prefix',
  's3://bucket?secret=hunter2',
  's3://A:hunter2@bucket',
  'file:relative',
  'file://host/dir',
  'file:///dir?x=1',
  'file:///a%2Fb',
])('the URL %j is refused with the name of the variable', (url) => {
  expect(() => openObjectStore(url)).toThrow(/^OBJECT_STORE_URL(?!.*hunter2)/);
});
