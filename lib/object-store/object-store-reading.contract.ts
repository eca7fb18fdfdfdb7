import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { collect, type ObjectStoreHarness, sha256, withCode } from './object-store-harness.ts';
import type { ObjectStore } from './port.ts';

export function delivery(
  harness: () => ObjectStoreHarness,
  store: () => ObjectStore,
  local: (file: string) => string,
): void {
  test('putFile and getToFile carry a file of several parts whole', async () => {
    const body = randomBytes(harness().partBytes * 2 + 123);
    await writeFile(local('in'), body);
    const put = await store().putFile('deliver/large', local('in'), { sha256: sha256(body) });
    expect(put).toEqual({ key: 'deliver/large', bytes: body.length, sha256: sha256(body), created: true });
    const got = await store().getToFile('deliver/large', local('out'), { sha256: sha256(body) });
    expect(got).toEqual({ key: 'deliver/large', bytes: body.length, sha256: sha256(body) });
    expect((await readFile(local('out'))).equals(body)).toBe(true);
  });

  test('getToFile keeps a file that is right already and replaces one that is not', async () => {
    const body = randomBytes(5_000);
    await store().put('deliver/kept', body);
    await writeFile(local('kept'), body);
    const before = await stat(local('kept'), { bigint: true });
    await store().getToFile('deliver/kept', local('kept'));
    expect((await stat(local('kept'), { bigint: true })).mtimeNs).toBe(before.mtimeNs);
    await writeFile(local('kept'), randomBytes(5_000));
    await store().getToFile('deliver/kept', local('kept'));
    expect((await readFile(local('kept'))).equals(body)).toBe(true);
  });

  test('getToFile with the digest of other content is ChecksumMismatch and writes nothing', async () => {
    await store().put('deliver/expected', Buffer.from('content'));
    const wrong = { sha256: sha256(Buffer.from('other')) };
    await expect(store().getToFile('deliver/expected', local('expected'), wrong)).rejects.toEqual(
      withCode('ChecksumMismatch'),
    );
    expect((await readdir(local(''))).filter((file) => file.includes('expected'))).toEqual([]);
  });

  test('getToFile into a folder that is absent is WorkspaceUnavailable', async () => {
    await store().put('deliver/nowhere', Buffer.from('content'));
    await expect(store().getToFile('deliver/nowhere', local('absent/file'))).rejects.toEqual(
      withCode('WorkspaceUnavailable'),
    );
  });

  test.each(['truncate', 'flip'] as const)(
    'OS-3: damage (%s) is ChecksumMismatch, and no file appears',
    async (how) => {
      const body = randomBytes(100_000);
      await store().put(`deliver/${how}`, body);
      await harness().damage(`deliver/${how}`, how);
      await expect(store().get(`deliver/${how}`)).rejects.toEqual(withCode('ChecksumMismatch'));
      await writeFile(local(how), 'what was here before');
      await expect(store().getToFile(`deliver/${how}`, local(how))).rejects.toEqual(withCode('ChecksumMismatch'));
      expect(await readFile(local(how), 'utf8')).toBe('what was here before');
      expect((await readdir(local(''))).filter((file) => file.includes(how))).toEqual([how]);
    },
  );

  test('an aborted getToFile leaves no file', async () => {
    await store().put('deliver/aborted', randomBytes(1_000));
    const signal = AbortSignal.abort();
    await expect(store().getToFile('deliver/aborted', local('aborted'), { signal })).rejects.toThrow(/abort/i);
    expect((await readdir(local(''))).filter((file) => file.includes('aborted'))).toEqual([]);
  });
}

export function resuming(harness: () => ObjectStoreHarness, local: (file: string) => string): void {
  test('OS-4: putFile sends only the missing parts after an interruption', async () => {
    const body = randomBytes(harness().partBytes * 6);
    await writeFile(local('resume'), body);
    const aborter = new AbortController();
    let sent = 0;
    const interrupted = harness().open((bytes) => {
      sent += bytes;
      if (sent >= harness().partBytes * 3) aborter.abort();
    });
    const first = interrupted.putFile('resume/file', local('resume'), { signal: aborter.signal });
    await expect(first).rejects.toThrow(/abort/i);
    expect(await interrupted.head('resume/file')).toBeNull();

    let sentLater = 0;
    const later = harness().open((bytes) => (sentLater += bytes));
    expect(await later.putFile('resume/file', local('resume'))).toMatchObject({ created: true, sha256: sha256(body) });
    expect(sent).toBeGreaterThanOrEqual(harness().partBytes * 3);
    expect(sentLater).toBe(body.length - sent);
    await later.getToFile('resume/file', local('resume-back'));
    expect(sha256(await readFile(local('resume-back')))).toBe(sha256(body));
  });

  test('OS-4: the parts of a file that has changed since are not used', async () => {
    const body = randomBytes(harness().partBytes * 4);
    await writeFile(local('changed'), body);
    const aborter = new AbortController();
    const interrupted = harness().open(() => aborter.abort());
    const first = interrupted.putFile('resume/changed', local('changed'), { signal: aborter.signal });
    await expect(first).rejects.toThrow(/abort/i);
    body[10] = (body[10] ?? 0) ^ 1;
    await writeFile(local('changed'), body);
    await harness().open().putFile('resume/changed', local('changed'));
    await harness()
      .open()
      .getToFile('resume/changed', local('changed-back'), { sha256: sha256(body) });
  });
}

export function listing(store: () => ObjectStore): void {
  test('OS-5: list gives keys in code-point order, with size and digest', async () => {
    const keys = ['a', 'a-b', 'a.b', 'a0', 'aB', 'b/x', 'b-x', 'b.x', 'b=x', 'b0/1', 'b/0/z', 'b/Z', 'Z', '0', 'b_'];
    for (const key of keys) await store().put(`list/${key}`, Buffer.from(key));
    const listed = await collect(store().list('list/'));
    expect(listed.map(({ key }) => key)).toEqual(keys.map((key) => `list/${key}`).sort());
    for (const info of listed) expect(await store().head(info.key)).toEqual(info);
  });

  test('OS-5: a prefix may end inside a segment, name a whole key, or match nothing', async () => {
    for (const key of ['prefix/run-1/a', 'prefix/run-10/a', 'prefix/run-2/a']) await store().put(key, Buffer.from(key));
    const keys = async (prefix: string): Promise<string[]> =>
      (await collect(store().list(prefix))).map(({ key }) => key);
    expect(await keys('prefix/run-1')).toEqual(['prefix/run-1/a', 'prefix/run-10/a']);
    expect(await keys('prefix/run-1/')).toEqual(['prefix/run-1/a']);
    expect(await keys('prefix/run-2/a')).toEqual(['prefix/run-2/a']);
    expect(await keys('prefix/run-3')).toEqual([]);
    expect(await keys('prefix/run-2/a/b')).toEqual([]);
    expect((await keys('')).length).toBeGreaterThan(3);
  });

  test('OS-5: a listing of 1,100 keys is complete (more than one page of S3)', async () => {
    const names = Array.from({ length: 1_100 }, (_, n) => `list-long/${n % 7}/${n}`);
    for (let at = 0; at < names.length; at += 16)
      await Promise.all(names.slice(at, at + 16).map((key) => store().put(key, Buffer.from(key))));
    const listed = (await collect(store().list('list-long/'))).map(({ key }) => key);
    expect(listed).toEqual([...names].sort());
  });

  test.each(['/', '../', 'a/../', 'a//', 'ä', 'a b'])('the prefix %j is refused', async (prefix) => {
    await expect(collect(store().list(prefix))).rejects.toEqual(withCode('ValidationFailed'));
  });
}
