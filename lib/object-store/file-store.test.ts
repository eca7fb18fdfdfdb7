import { randomBytes } from 'node:crypto';
import {
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FileObjectStore } from './file-store.ts';
import { objectStoreContract } from './object-store.contract.ts';

objectStoreContract('file', async () => {
  const root = await mkdtemp(join(tmpdir(), 'trainyard-file-store-'));
  const partBytes = 128 * 1_024;
  return {
    partBytes,
    open: (onWrite) =>
      new FileObjectStore({ root, partBytes, ...(onWrite && { onWrite: ({ bytes }) => onWrite(bytes) }) }),
    damage: async (key, how) => {
      const path = join(root, 'objects', key);
      if (how === 'truncate') return truncate(path, 10);
      const file = await open(path, 'r+');
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, 50);
      await file.write(Buffer.of((byte[0] ?? 0) ^ 1), 0, 1, 50);
      return file.close();
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
});

describe('file store', () => {
  let folder: string;
  let root: string;
  let store: FileObjectStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-file-store-'));
    root = join(folder, 'store');
    store = new FileObjectStore({ root, partBytes: 1_024 });
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const withCode = (code: string): unknown => expect.objectContaining({ code });

  test('the content of a key can be read at objects/<key> by any program', async () => {
    await store.put('a/b/c', Buffer.from('plain'));
    expect(await readFile(join(root, 'objects/a/b/c'), 'utf8')).toBe('plain');
  });

  test('a planted symbolic link leads nobody outside the store', async () => {
    const outside = join(folder, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'secret'), 'secret');
    await store.check();
    await symlink(outside, join(root, 'objects/evil'));
    // A link of our own form outside: even that is not reached through the planted one.
    await store.put('real/key', Buffer.from('x'));
    await symlink(await readlink(join(root, 'objects/real/key')), join(outside, 'key'));
    await store.delete('real/key');
    expect(await store.head('evil/key')).toBeNull();
    await store.delete('evil/key');
    await symlink(join(outside, 'secret'), join(root, 'objects/evil-file'));
    expect(await store.head('evil/secret')).toBeNull();
    await expect(store.get('evil/secret')).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store.get('evil-file')).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store.put('evil/new', Buffer.from('x'))).rejects.toEqual(withCode('StoreUnavailable'));
    await expect(store.put('evil/deep/new', Buffer.from('x'))).rejects.toEqual(withCode('StoreUnavailable'));
    await expect(store.put('evil-file', Buffer.from('x'))).rejects.toEqual(withCode('StoreUnavailable'));
    await store.delete('evil/secret');
    await store.delete('evil-file');
    for await (const { key } of store.list('')) expect.fail(`${key} is listed`);
    expect((await readdir(outside)).sort()).toEqual(['key', 'secret']);
  });

  test('a link of our form that lies at another key or climbs out is no object', async () => {
    await store.put('a', Buffer.from('x'));
    const target = await readlink(join(root, 'objects/a'));
    await symlink(`../${target}`, join(root, 'objects/b'));
    await symlink(target.replace('content/', 'content/../content/'), join(root, 'objects/c'));
    expect(await store.head('b')).toBeNull();
    expect(await store.head('c')).toBeNull();
  });

  test('an object whose content was lost from the disk is absent, and the same content heals it', async () => {
    await store.put('lost/a', Buffer.from('x'));
    await rm(await realpath(join(root, 'objects/lost/a')));
    expect(await store.head('lost/a')).toBeNull();
    await expect(store.get('lost/a')).rejects.toEqual(withCode('ObjectNotFound'));
    await expect(store.put('lost/a', Buffer.from('y'))).rejects.toEqual(withCode('ObjectExists'));
    expect(await store.put('lost/a', Buffer.from('x'))).toMatchObject({ created: true });
    expect((await store.get('lost/a')).toString()).toBe('x');
  });

  test('a damaged part of an interrupted upload is copied again', async () => {
    const body = randomBytes(4_096);
    const file = join(folder, 'file');
    await writeFile(file, body);
    const aborter = new AbortController();
    const interrupted = new FileObjectStore({
      root,
      partBytes: 1_024,
      onWrite: ({ part }) => part === 3 && aborter.abort(),
    });
    await expect(interrupted.putFile('k', file, { signal: aborter.signal })).rejects.toThrow(/abort/i);
    const [upload = ''] = await readdir(join(root, 'staging'));
    const staged = await open(join(root, 'staging', upload, 'content'), 'r+');
    await staged.write(Buffer.from('damage'), 0, 6, 1_500);
    await staged.close();
    const copied: number[] = [];
    const later = new FileObjectStore({ root, partBytes: 1_024, onWrite: ({ part }) => copied.push(part) });
    await later.putFile('k', file);
    expect(copied).toEqual([2, 4]);
    expect((await later.get('k')).equals(body)).toBe(true);
  });

  test.each([
    ['ENOSPC', 'DiskFull'],
    ['EDQUOT', 'DiskFull'],
    ['EIO', 'StoreUnavailable'],
  ])('%s while writing is %s, nothing is visible and nothing staged stays', async (errno, code) => {
    const failing = new FileObjectStore({
      root,
      onWrite: () => {
        throw Object.assign(new Error(errno), { code: errno, syscall: 'write' });
      },
    });
    await expect(failing.put('full', Buffer.from('x'))).rejects.toEqual(withCode(code));
    await expect(failing.putStream('full', Readable.from(['x']), { maxBytes: 9 })).rejects.toEqual(withCode(code));
    expect(await failing.head('full')).toBeNull();
    expect(await readdir(join(root, 'staging'))).toEqual([]);
  });

  test('a root that cannot be a folder is StoreUnavailable, and serves as soon as it can', async () => {
    await writeFile(root, 'a file');
    await expect(store.check()).rejects.toEqual(withCode('StoreUnavailable'));
    await expect(store.put('a', Buffer.from('x'))).rejects.toEqual(withCode('StoreUnavailable'));
    await rm(root);
    await expect(store.check()).resolves.toBeUndefined();
  });

  test('the garbage collection removes abandoned staging and orphans of a given age, and nothing that is named', async () => {
    const file = join(folder, 'file');
    await writeFile(file, randomBytes(4_096));
    const failing = new FileObjectStore({
      root,
      partBytes: 1_024,
      onWrite: ({ part }) => {
        if (part === 2) throw new Error('interrupted');
      },
    });
    await expect(failing.putFile('upload', file)).rejects.toThrow('interrupted');
    await store.put('kept', Buffer.from('kept'));
    await store.put('orphan', Buffer.from('orphan'));
    await rm(join(root, 'objects/orphan'));

    const young = await store.collectGarbage({ olderThanMs: 3_600_000, now: Date.now() });
    expect(young).toEqual({ staged: 0, orphans: 0, bytes: 0 });
    const old = await store.collectGarbage({ olderThanMs: 3_600_000, now: Date.now() + 3_700_000 });
    expect(old).toMatchObject({ staged: 1, orphans: 1 });
    expect(await readdir(join(root, 'staging'))).toEqual([]);
    expect((await store.get('kept')).toString()).toBe('kept');
    expect(await store.putFile('upload', file)).toMatchObject({ created: true });
  });

  test('deleting and creating one key in turns by many writers never shows half an object', async () => {
    const bodies = [0, 1, 2, 3].map((n) => Buffer.alloc(2_000, n));
    const surprises: unknown[] = [];
    const expected = (error: unknown): null => {
      const { code } = error as { code?: string };
      if (code !== 'ObjectExists' && code !== 'ObjectNotFound') surprises.push(error);
      return null;
    };
    const writer = async (body: Buffer): Promise<void> => {
      for (let round = 0; round < 25; round++) {
        await store.put('busy/folder/key', body).catch(expected);
        const seen = await store.get('busy/folder/key').catch(expected);
        if (seen !== null && !bodies.some((each) => each.equals(seen))) surprises.push(seen);
        await store.delete('busy/folder/key');
      }
    };
    await Promise.all(bodies.map(writer));
    expect(surprises).toEqual([]);
    expect(await readdir(join(root, 'staging'))).toEqual([]);
  });
});
