import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { eventually } from '../../test/support/eventually.ts';
import { homeAt } from './home.ts';
import { recordedProcesses } from './process-record.ts';

const PROGRAM = join(import.meta.dirname, '../../test/support/fixtures/platform.ts');

// The supervisor as a process of its own, with fixture services; the tests go through its life in order.
describe('trainyard start', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'trainyard-start-'));
  });
  afterAll(() => rm(home, { recursive: true }));

  it('says where everything is, and exits 0 within 10 s of Ctrl-C, however often it is pressed', async () => {
    const run = await started(home);
    expect(run.output()).toMatch(/Gateway {4}http:\/\/127\.0\.0\.1:\d+\n/);
    expect(run.output()).toContain(`Admin key  ${join(home, 'admin.key')}`);
    const pids = alivePids(home);
    expect(pids).toHaveLength(3);
    const begunAt = performance.now();
    run.child.kill('SIGINT');
    run.child.kill('SIGINT');
    await expect(run.exit).resolves.toEqual([0, null]);
    expect(performance.now() - begunAt).toBeLessThan(10_000);
    expect(run.output()).toMatch(/everything is stopped/);
    await expect(Promise.all(pids.map(processIdentity))).resolves.toEqual([null, null, null]);
  });

  it('is refused while another one runs on the home, with exit code 1', async () => {
    const first = await started(home);
    const second = run(home);
    const [code] = await second.exit;
    expect(code).toBe(1);
    expect(second.output()).toContain(`HomeInUse`);
    expect(second.output()).toContain(`process ${first.child.pid}`);
    first.child.kill('SIGTERM');
    await expect(first.exit).resolves.toEqual([0, null]);
  });

  it('leaves no process behind when it is killed', async () => {
    const run = await started(home);
    const pids = alivePids(home);
    const trainer = await childOfWorker(home);
    run.child.kill('SIGKILL');
    await run.exit;
    const gone = (): Promise<boolean> =>
      Promise.all(pids.map(processIdentity)).then((found) => found.every((identity) => identity === null));
    await expect(eventually(gone, { withinMs: 15_000 })).resolves.toBe(true);
    await expect(readFile(join(home, 'logs', 'gateway.log'), 'utf8')).resolves.toMatch(/stops: the supervisor is gone/);
    // Nobody watched the fixture's child; the next start ends it with the group its service led.
    await expect(processIdentity(trainer)).resolves.not.toBeNull();
    const next = await started(home);
    await expect(processIdentity(trainer)).resolves.toBeNull();
    next.child.kill('SIGTERM');
    await next.exit;
  });

  it('starts at once after it was killed, although deaf services and PostgreSQL are still there', async () => {
    const killed = await started(home, { FIXTURE_DEAF: '1' });
    const pids = alivePids(home);
    const trainer = await childOfWorker(home);
    killed.child.kill('SIGKILL');
    await killed.exit;
    const next = await started(home);
    await eventually(async () => (await processIdentity(trainer)) === null);
    expect(next.output()).toMatch(/gateway {7} process \d+ is left from an earlier run/);
    await expect(Promise.all(pids.map(processIdentity))).resolves.toEqual([null, null, null]);
    next.child.kill('SIGTERM');
    await expect(next.exit).resolves.toEqual([0, null]);
  });

  it('starts again after the whole tree was killed at once, PostgreSQL included', async () => {
    const killed = await started(home);
    const pids = alivePids(home);
    for (const pid of [killed.child.pid as number, ...pids]) process.kill(pid, 'SIGKILL');
    await killed.exit;
    const next = await started(home);
    next.child.kill('SIGTERM');
    await expect(next.exit).resolves.toEqual([0, null]);
    expect(await readdir(home)).not.toContain('platform.lock');
  });

  it('stops while it starts, with exit code 0', async () => {
    const starting = run(home);
    await eventually(() => starting.output().includes('starts'));
    starting.child.kill('SIGTERM');
    await expect(starting.exit).resolves.toEqual([0, null]);
    expect(starting.output()).toMatch(/stopped before everything was ready/);
    expect(alivePids(home)).toEqual([]);
  });
});

interface Run {
  readonly child: ChildProcess;
  readonly exit: Promise<[number | null, NodeJS.Signals | null]>;
  readonly output: () => string;
}

function run(home: string, environment: NodeJS.ProcessEnv = {}): Run {
  const child = spawn(process.execPath, [PROGRAM, '--home', home, '--gateway-port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exit = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  return { child, exit, output: () => output };
}

async function started(home: string, environment: NodeJS.ProcessEnv = {}): Promise<Run> {
  const starting = run(home, environment);
  const ready = eventually(() => starting.output().includes('Trainyard is ready'), { withinMs: 30_000 });
  const ended = starting.exit.then(([code]) => {
    throw new Error(`ended with ${code}: ${starting.output()}`);
  });
  await Promise.race([ready, ended]);
  ended.catch(() => undefined);
  return starting;
}

async function childOfWorker(home: string): Promise<number> {
  const worker = recordedProcesses(homeAt(home).recordFile).find(({ name }) => name === 'gpu-worker');
  return Number(await (await fetch(new URL('/child', worker?.readyUrl ?? undefined))).text());
}

const alivePids = (home: string): number[] => recordedProcesses(homeAt(home).recordFile).map(({ pid }) => pid);
