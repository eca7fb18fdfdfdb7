import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { eventually } from '../../test/support/eventually.ts';
import { type LocalProcessOptions, startLocalProcess } from './local-process.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'trainyard-process-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** A shell that starts a child, writes both numbers and waits; deaf to SIGTERM when asked. */
const script = (deaf: boolean): string =>
  `${deaf ? "trap '' TERM; " : ''}sleep 300 & echo "$$ $!" > "$0.new"; mv "$0.new" "$0"; wait; ${deaf ? 'sleep 300' : ''}`;

function optionsOf(name: string, deaf = false): LocalProcessOptions & { readonly pidFile: string } {
  const pidFile = join(dir, `${name}.pids`);
  return {
    pidFile,
    name,
    command: '/bin/sh',
    args: ['-c', script(deaf), pidFile],
    environment: { PATH: process.env['PATH'] },
    cwd: dir,
    logFile: join(dir, `${name}.log`),
    isReady: async () => (await pidsIn(pidFile)).length === 2,
    readyWithinMs: 20_000,
  };
}

const pidsIn = async (file: string): Promise<number[]> =>
  (await readFile(file, 'utf8').catch(() => '')).trim().split(' ').filter(Boolean).map(Number);

const alive = async (pids: readonly number[]): Promise<number[]> => {
  const found = await Promise.all(pids.map(processIdentity));
  return pids.filter((_, at) => found[at] !== null);
};

describe('a local process', () => {
  it('is ready when it says so, and stop() ends its children too', async () => {
    const options = optionsOf('stopped');
    const server = await startLocalProcess(options);
    const pids = await pidsIn(options.pidFile);
    expect(pids[0]).toBe(server.pid);
    expect(await alive(pids)).toEqual(pids);
    await server.stop();
    expect(server.isRunning).toBe(false);
    await eventually(async () => (await alive(pids)).length === 0);
    await server.stop();
  });

  it('is another process after kill -9 and restart()', async () => {
    const options = optionsOf('restarted');
    const server = await startLocalProcess(options);
    const before = await pidsIn(options.pidFile);
    server.kill('SIGKILL');
    expect(await server.ended()).toBe('SIGKILL');
    await eventually(async () => (await alive(before)).length === 0);
    await rm(options.pidFile);
    await server.restart();
    expect(server.isRunning).toBe(true);
    expect(server.pid).not.toBe(before[0]);
    await server.stop();
  });

  it('that is deaf to SIGTERM is killed after ten seconds', async () => {
    const options = optionsOf('deaf', true);
    const server = await startLocalProcess(options);
    const startedAt = performance.now();
    await server.stop();
    expect(performance.now() - startedAt).toBeGreaterThan(9_500);
    expect(await server.ended()).toBe('SIGKILL');
  });

  it('that ends at once is an error with the last lines of its log', async () => {
    const options = { ...optionsOf('failing'), args: ['-c', 'echo the port is taken >&2; exit 3'] };
    await expect(startLocalProcess(options)).rejects.toThrow(/failing ended at once \(3\)\nthe port is taken/);
  });

  it('that is not ready in time is an error, and is ended', async () => {
    const options = { ...optionsOf('slow'), readyWithinMs: 500, isReady: async () => false };
    await expect(startLocalProcess(options)).rejects.toThrow('was not ready within 0.5 s');
    await eventually(async () => (await alive(await pidsIn(options.pidFile))).length === 0);
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)('ends when the process that started it ends by %s', async (signal) => {
    const options = optionsOf(`orphan-${signal}`);
    const parent = await startParent(options);
    const pids = await pidsIn(options.pidFile);
    expect(await alive(pids)).toEqual(pids);
    parent.kill(signal);
    await eventually(async () => (await alive(pids)).length === 0);
  });
});

/** A Node that starts the process and does nothing else. */
async function startParent(options: ReturnType<typeof optionsOf>): Promise<ChildProcess> {
  const file = join(dir, 'parent.ts');
  const module = JSON.stringify(join(import.meta.dirname, 'local-process.ts'));
  await writeFile(
    file,
    `import { existsSync } from 'node:fs';
     import { startLocalProcess } from ${module};
     await startLocalProcess({ ...JSON.parse(process.argv[2]), isReady: async () => existsSync(process.argv[3]) });
     process.stdout.write('started');`,
  );
  const parent = spawn(process.execPath, [file, JSON.stringify(options), options.pidFile], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // The process runs, and writes its numbers, a moment before anybody watches over it.
  await once(parent.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
  return parent;
}
