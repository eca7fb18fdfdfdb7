import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ChildCommand } from './file-store.child.ts';
import { FileObjectStore } from './file-store.ts';

const PART_BYTES = 128 * 1_024;

let folder: string;
let root: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainyard-store-processes-'));
  root = join(folder, 'store');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Child {
  next(): Promise<unknown>;
  go(): void;
  /** All further lines, and the signal that ended the process. */
  end(): Promise<{ lines: unknown[]; signal: string | null }>;
}

function child(given: Pick<ChildCommand, 'key'> & Partial<ChildCommand>): Child {
  const command: ChildCommand = { root, partBytes: PART_BYTES, file: null, killAfter: -1, creators: [], ...given };
  const script = join(import.meta.dirname, 'file-store.child.ts');
  const running = spawn(process.execPath, [script, JSON.stringify(command)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(running, 'close') as Promise<[number | null, string | null]>;
  const lines = createInterface({ input: running.stdout })[Symbol.asyncIterator]();
  return {
    next: async () => JSON.parse((await lines.next()).value as string) as unknown,
    go: () => running.stdin.end('go\n'),
    end: async () => {
      const rest: unknown[] = [];
      for (let line = await lines.next(); line.done !== true; line = await lines.next())
        rest.push(JSON.parse(line.value));
      return { lines: rest, signal: (await ended)[1] };
    },
  };
}

test('OS-2: of 16 creators in four processes exactly one wins, the others get ObjectExists', async () => {
  const children = [0, 1, 2, 3].map((n) =>
    child({ key: 'race/key', creators: [0, 1, 2, 3].map((m) => `creator ${n}.${m}`) }),
  );
  for (const each of children) expect(await each.next()).toBe('ready');
  for (const each of children) each.go();
  const results = (await Promise.all(children.map((each) => each.end()))).flatMap(
    ({ lines }) => lines as { body: string; created?: boolean; code?: string }[],
  );
  expect(results).toHaveLength(16);
  const winners = results.filter(({ created }) => created === true);
  expect(winners).toHaveLength(1);
  expect(results.filter(({ code }) => code === 'ObjectExists')).toHaveLength(15);
  const store = new FileObjectStore({ root });
  expect((await store.get('race/key')).toString()).toBe(winners[0]?.body);
  expect(await readdir(join(root, 'staging'))).toEqual([]);
});

test('of 16 creators in four processes of x and of x/y only one kind exists afterwards', async () => {
  const children = [0, 1, 2, 3].map((n) =>
    child({ key: n % 2 === 0 ? 'x' : 'x/y', creators: [0, 1, 2, 3].map((m) => `${n}.${m}`) }),
  );
  for (const each of children) expect(await each.next()).toBe('ready');
  for (const each of children) each.go();
  const results = (await Promise.all(children.map((each) => each.end()))).flatMap(
    ({ lines }) => lines as { created?: boolean; code?: string }[],
  );
  expect(results.filter(({ created }) => created === true)).toHaveLength(1);
  expect(results.filter(({ code }) => code === 'ObjectExists')).toHaveLength(15);
  const store = new FileObjectStore({ root });
  expect([await store.head('x'), await store.head('x/y')].filter((info) => info !== null)).toHaveLength(1);
});

test.each([1, 3, 7, 8])(
  'OS-1, OS-4: kill -9 after %i of 8 parts leaves nothing visible, and the re-run copies only the rest',
  async (parts) => {
    const file = join(folder, 'large');
    const body = randomBytes(PART_BYTES * 8);
    await writeFile(file, body);
    const { signal, lines } = await child({ key: 'kill/large', file, killAfter: parts }).end();
    expect({ signal, lines }).toEqual({ signal: 'SIGKILL', lines: [] });

    let copied = 0;
    const store = new FileObjectStore({ root, partBytes: PART_BYTES, onWrite: ({ bytes }) => (copied += bytes) });
    expect(await store.head('kill/large')).toBeNull();
    for await (const { key } of store.list('')) expect.fail(`${key} is visible`);
    expect(await store.putFile('kill/large', file)).toMatchObject({ created: true });
    expect(copied).toBe(PART_BYTES * (8 - parts));
    expect((await store.get('kill/large')).equals(body)).toBe(true);
    expect(await readdir(join(root, 'staging'))).toEqual([]);
  },
);

test('OS-2: four processes that store one large file at once make one whole object', async () => {
  const file = join(folder, 'large');
  const body = randomBytes(PART_BYTES * 24);
  await writeFile(file, body);
  const children = [0, 1, 2, 3].map(() => child({ key: 'race/large', file }));
  const ends = await Promise.all(children.map((each) => each.end()));
  const results = ends.flatMap(({ lines }) => lines as { created: boolean }[]);
  expect(results).toHaveLength(4);
  expect(results.filter(({ created }) => created)).toHaveLength(1);
  expect((await new FileObjectStore({ root }).get('race/large')).equals(body)).toBe(true);
});

test('OS-1: kill -9 in the middle of a small put leaves nothing visible', async () => {
  const running = child({ key: 'kill/small', killAfter: 1, creators: ['body'] });
  await running.next();
  running.go();
  expect((await running.end()).signal).toBe('SIGKILL');
  const store = new FileObjectStore({ root });
  expect(await store.head('kill/small')).toBeNull();
  expect(await store.put('kill/small', Buffer.from('other'))).toMatchObject({ created: true });
});
