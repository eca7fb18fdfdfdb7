import { randomUUID } from 'node:crypto';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { homeAt } from '../cli/start/home.ts';
import { freePort } from '../cli/start/local-ports.ts';
import { recordedProcesses } from '../cli/start/process-record.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import type { Benchmark } from './support/benchmark.ts';
import { GatewayClient } from './support/gateway-client.ts';
import {
  childrenOf,
  descendantsOf,
  type Memory,
  machineBusyMs,
  machineKind,
  memoryOf,
  requireLinux,
} from './support/machine.ts';
import { print, printGoal, printTable } from './support/report.ts';

const PROGRAM = resolve(import.meta.dirname, '../cli/main.ts');
const CORPUS = resolve(import.meta.dirname, '../examples/data/state-of-the-union.jsonl.br');
const READY_WITHIN_MS = 90_000;
const SAMPLE_EVERY_MS = 500;

export const memory: Benchmark = {
  name: 'memory',
  summary: 'memory of every process of the platform, idle and under load',
  options: {
    // Services give back what only their start needed when they have been quiet for a while: 30 to 45 s after it.
    settle: { standard: 60, summary: 'seconds between ready and the first look' },
    submits: { standard: 200, summary: 'jobs submitted for the load, besides the one that trains' },
    load: { standard: 45, summary: 'seconds under load; the largest figure of each process counts' },
  },
  run: async (options) => {
    requireLinux();
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
    const port = await freePort();
    // The first start makes the database and leaves Node's compile cache behind, as on a user's machine.
    await stopped(await started(folder, port));
    const supervisor = await started(folder, port);
    try {
      print(`memory\n${machineKind()}\n\nidle, ${options.number('settle')} s after ready; MB (10^6 bytes)`);
      await delay(options.number('settle') * 1_000);
      const idle = look(folder, supervisor);
      show(idle);
      printGoal('idle platform, RSS in all', total(idle).rssMb, 'MB', { atMost: 700 });
      printGoal('idle platform, PSS in all', total(idle).pssMb, 'MB', { atMost: 700 });
      const busyMs = machineBusyMs();
      const most = await underLoad(folder, supervisor, port, options.number('submits'), options.number('load'));
      const cores = (machineBusyMs() - busyMs) / (options.number('load') * 1_000);
      print(
        `\nunder load (one training, ${options.number('submits')} submits): the most of each process in ${options.number('load')} s; ${cores.toFixed(2)} cores busy`,
      );
      show(most);
    } finally {
      await stopped(supervisor);
      await rm(folder, { recursive: true, force: true });
    }
  },
};

type Look = Map<string, Memory>;

/** As scripts/bootstrap.mjs starts it. */
async function started(folder: string, port: number): Promise<ChildProcess> {
  const start = ['start', '--home', folder, '--gateway-port', String(port), '--log-level', 'warn'];
  const supervisor = spawn(process.execPath, ['--expose-gc', PROGRAM, ...start], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    await ready(folder, port);
    return supervisor;
  } catch (error) {
    await stopped(supervisor);
    throw error;
  }
}

async function stopped(supervisor: ChildProcess): Promise<void> {
  const exited = once(supervisor, 'exit');
  if (supervisor.exitCode === null && supervisor.signalCode === null) {
    supervisor.kill('SIGTERM');
    await exited;
  }
}

async function ready(folder: string, port: number): Promise<void> {
  const until = Date.now() + READY_WITHIN_MS;
  while (Date.now() < until) {
    const services = recordedProcesses(homeAt(folder).recordFile).filter(({ readyUrl }) => readyUrl !== null);
    const urls = [...services.map(({ readyUrl }) => readyUrl ?? ''), `http://127.0.0.1:${port}/readyz`];
    const answers = await Promise.all(
      urls.map((url) =>
        fetch(url).then(
          ({ ok }) => ok,
          () => false,
        ),
      ),
    );
    if (services.length === 5 && answers.every(Boolean) && existsSync(homeAt(folder).adminKeyFile)) return;
    await delay(200);
  }
  throw new Error(`the platform was not ready within ${READY_WITHIN_MS / 1_000} s`);
}

/** Every process once; PostgreSQL with its backends, a worker without and its trainer by itself. */
function look(folder: string, supervisor: ChildProcess): Look {
  const found: Look = new Map([['supervisor', sum([supervisor.pid ?? 0])]]);
  for (const { name, pid } of recordedProcesses(homeAt(folder).recordFile)) {
    found.set(name, sum(name === 'postgres' ? descendantsOf(pid) : [pid]));
    const trainers = name === 'gpu-worker' ? childrenOf(pid) : [];
    if (trainers.length > 0) found.set('trainer', sum(trainers));
  }
  return found;
}

function sum(pids: readonly number[]): Memory {
  const each = pids.flatMap((pid) => {
    try {
      return [memoryOf(pid)];
    } catch {
      // Ended between the listing and the look.
      return [];
    }
  });
  return {
    rssMb: each.reduce((mb, { rssMb }) => mb + rssMb, 0),
    pssMb: each.reduce((mb, { pssMb }) => mb + pssMb, 0),
  };
}

const total = (look: Look): Memory => {
  const all = [...look.values()];
  return {
    rssMb: all.reduce((mb, { rssMb }) => mb + rssMb, 0),
    pssMb: all.reduce((mb, { pssMb }) => mb + pssMb, 0),
  };
};

function show(look: Look): void {
  const rows = [...look, ['in all', total(look)] as const];
  printTable(rows.map(([name, { rssMb, pssMb }]) => ({ process: name, RSS: rssMb.toFixed(0), PSS: pssMb.toFixed(0) })));
}

async function underLoad(
  folder: string,
  supervisor: ChildProcess,
  port: number,
  submits: number,
  seconds: number,
): Promise<Look> {
  const client = await GatewayClient.open(`http://127.0.0.1:${port}`, homeAt(folder).adminKeyFile, 8);
  const most: Look = new Map();
  const until = Date.now() + seconds * 1_000;
  await client.prepare(readCorpus(CORPUS).toString());
  // Steps enough for all the time, so that the trainer is there at every look.
  await client.submit(randomUUID(), 100_000);
  const submitting = (async () => {
    for (let n = 0; n < submits; n++) await client.submit(randomUUID(), 100);
  })();
  while (Date.now() < until) {
    for (const [name, now] of look(folder, supervisor)) {
      const before = most.get(name) ?? { rssMb: 0, pssMb: 0 };
      most.set(name, { rssMb: Math.max(before.rssMb, now.rssMb), pssMb: Math.max(before.pssMb, now.pssMb) });
    }
    await delay(SAMPLE_EVERY_MS);
  }
  await submitting;
  client.close();
  return most;
}
