import { setTimeout as delay } from 'node:timers/promises';
import { processIdentity, signalProcess } from '#lib/postgres/process-identity.ts';
import { processTree, trainersOf } from '../support/e2e/process-faults.ts';
import { eventually } from '../support/eventually.ts';
import type { Fault, Target } from './fault-plan.ts';
import type { Site } from './site.ts';

/** An attempt whose training program was struck. */
export interface StruckAttempt {
  readonly jobId: string;
  readonly activityId: string;
  readonly epoch: number;
}

/** A fault that was done. Times are epoch milliseconds. */
export interface Strike {
  readonly fault: Fault;
  readonly beganAtMs: number;
  /** From here on what was struck could go on again, as far as we are concerned: killed, continued, started again, or given up by its watcher. */
  readonly overAtMs: number;
  /** Which process: the service's name, `kafka-2`, the program's attempt. */
  readonly what: string;
  readonly attempt: StruckAttempt | null;
  /** Another one was struck at the same time: whose doing what follows is cannot be told. */
  readonly paired: boolean;
}

export interface InjectOptions {
  readonly site: Site;
  /** Jobs whose training program may be struck; one that may not would end differently than its spec says. */
  readonly mayStrike: (jobId: string) => boolean;
  /** A process of the supervisor's that is about to be struck. */
  readonly onPid: (pid: number) => void;
}

/** A service that was struck a moment ago may be down. */
const UP_WITHIN_MS = 20_000;
/** A hung service is killed after its missed probes, a stalled trainer after its floor. */
const HANG_OVER_WITHIN_MS = 60_000;
/** A training program lives for 1 to 3 s. */
const TRAINER_WITHIN_MS = 10_000;

/** Does one fault and undoes what must be undone by us; null when there was nothing to strike. */
export async function strike(options: InjectOptions, fault: Fault): Promise<Strike | null> {
  const { site } = options;
  switch (fault.target) {
    case 'trainer':
      return strikeTrainer(options, fault);
    case 'postgres':
      return strikePostgres(options, fault);
    case 'kafka':
    case 'schema-registry':
    case 's3':
    case 'mlflow':
      return strikePeer(site, fault, fault.target);
    case 'gateway':
    case 'orchestrator':
    case 'cpu-worker':
    case 'gpu-worker':
    case 'drift-monitor':
      return strikeService(options, fault, fault.target);
  }
}

async function strikeService({ site, onPid }: InjectOptions, fault: Fault, target: Target): Promise<Strike> {
  const names = site.services.map(({ name }) => name).filter((name) => name === target || name === `${target}-2`);
  const name = chosen(names, fault.choice);
  const pid = await eventually(() => readyPid(site, name), { withinMs: UP_WITHIN_MS, everyMs: 50 });
  onPid(pid);
  const beganAtMs = Date.now();
  const struck = (overAtMs: number): Strike => ({
    fault,
    beganAtMs,
    overAtMs,
    what: name,
    attempt: null,
    paired: false,
  });
  if (fault.action === 'kill') {
    signalProcess(pid, 'SIGKILL');
    return struck(beganAtMs);
  }
  signalProcess(pid, 'SIGSTOP');
  if (fault.action === 'hang') {
    const end = await eventually(
      () => site.events.find((event) => event.type === 'process_hung' && event.pid === pid) ?? false,
      { withinMs: HANG_OVER_WITHIN_MS, everyMs: 50 },
    );
    return struck(end.atMs);
  }
  await delay(fault.lastsMs);
  signalProcess(pid, 'SIGCONT');
  return struck(Date.now());
}

/** Only a process that serves is struck: killing one that starts again and again says nothing new. */
function readyPid(site: Site, name: string): number {
  const { pid } = site.platform.process(name);
  if (!site.events.some((event) => event.type === 'process_ready' && event.pid === pid))
    throw new Error(`${name} is not ready`);
  return pid;
}

async function strikeTrainer({ site, mayStrike }: InjectOptions, fault: Fault): Promise<Strike | null> {
  const found = await eventually(
    async () => {
      const trainers = (await runningTrainers(site)).filter(({ attempt }) => mayStrike(attempt.jobId));
      return trainers.length > 0 && chosen(trainers, fault.choice);
    },
    { withinMs: TRAINER_WITHIN_MS, everyMs: 50 },
  ).catch(() => null);
  if (found === null) return null;
  const { pid, attempt } = found;
  const beganAtMs = Date.now();
  const what = `${attempt.activityId} of ${attempt.jobId}, attempt ${attempt.epoch}`;
  const struck = (overAtMs: number): Strike => ({ fault, beganAtMs, overAtMs, what, attempt, paired: false });
  if (fault.action === 'kill') {
    signalProcess(pid, 'SIGKILL');
    return struck(beganAtMs);
  }
  signalProcess(pid, 'SIGSTOP');
  if (fault.action === 'hang') {
    await eventually(async () => (await processIdentity(pid)) === null, { withinMs: HANG_OVER_WITHIN_MS, everyMs: 50 });
    return struck(Date.now());
  }
  await delay(fault.lastsMs);
  signalProcess(pid, 'SIGCONT');
  return struck(Date.now());
}

async function runningTrainers(site: Site): Promise<{ pid: number; attempt: StruckAttempt }[]> {
  const workers = site.services.map(({ name }) => name).filter((name) => name.startsWith('gpu-worker'));
  const pids = await Promise.all(
    workers.map(async (name) => {
      try {
        return await trainersOf(site.platform.process(name).pid);
      } catch {
        return [];
      }
    }),
  );
  const trainers = await Promise.all(
    pids.flat().map(async (pid) => {
      const { command = '' } = (await processIdentity(pid)) ?? {};
      const spec = /\/jobs\/([^/ ]+)\/spec-(\w+)-e(\d+)\.json$/.exec(command);
      if (spec === null) return null;
      const [, jobId = '', activityId = '', epoch = ''] = spec;
      return { pid, attempt: { jobId, activityId, epoch: Number(epoch) } };
    }),
  );
  return trainers.filter((trainer) => trainer !== null);
}

async function strikePostgres({ site, onPid }: InjectOptions, fault: Fault): Promise<Strike> {
  const { pid } = await eventually(() => site.platform.process('postgres'), { withinMs: UP_WITHIN_MS, everyMs: 50 });
  onPid(pid);
  const tree = fault.action === 'kill' ? [pid] : await processTree(pid);
  const beganAtMs = Date.now();
  const struck = (): Strike => ({
    fault,
    beganAtMs,
    overAtMs: Date.now(),
    what: 'postgres',
    attempt: null,
    paired: false,
  });
  if (fault.action === 'kill') {
    signalProcess(pid, 'SIGKILL');
    return struck();
  }
  // The parent first: a stopped parent makes no new ones.
  for (const each of tree) signalProcess(each, 'SIGSTOP');
  await delay(fault.lastsMs);
  for (const each of tree.reverse()) signalProcess(each, 'SIGCONT');
  return struck();
}

async function strikePeer(
  site: Site,
  fault: Fault,
  target: 'kafka' | 'schema-registry' | 's3' | 'mlflow',
): Promise<Strike | null> {
  const nodes = target === 'kafka' ? (site.peers.kafka?.nodes ?? []) : [];
  const peer = target === 'kafka' ? (nodes.length > 0 ? chosen(nodes, fault.choice) : null) : site.peers[target];
  if (peer === null) return null;
  const what = nodes.length > 1 ? `${target}, node ${1 + nodes.indexOf(peer as (typeof nodes)[number])}` : target;
  const beganAtMs = Date.now();
  peer.kill(fault.action === 'outage' ? 'SIGKILL' : 'SIGSTOP');
  await delay(fault.lastsMs);
  if (fault.action === 'outage') await peer.restart();
  else peer.kill('SIGCONT');
  return { fault, beganAtMs, overAtMs: Date.now(), what, attempt: null, paired: false };
}

function chosen<T>(from: readonly T[], choice: number): T {
  const one = from[Math.floor(choice * from.length)];
  if (one === undefined) throw new Error('nothing to choose from');
  return one;
}
