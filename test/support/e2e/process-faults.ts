import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { processIdentity, signalProcess } from '#lib/postgres/process-identity.ts';
import { eventually } from '../eventually.ts';

/** A process that runs 1 to 2 ms of every 30: a twentieth of its speed, and still often enough for its heartbeats. */
const RUN_MS = 1;
const PAUSE_MS = 30;

export interface Slowness {
  /** The process runs as before. */
  atFullSpeed(): Promise<void>;
  /** The process stands still from this moment on. */
  halt(): Promise<void>;
}

/** Makes a process slow until one of the returned functions is called, once or more, or it is dead. */
export function slowDown(pid: number): Slowness {
  const ended = new AbortController();
  const pause = (ms: number) => delay(ms, undefined, { signal: ended.signal }).catch(() => undefined);
  const life = (async () => {
    while (!ended.signal.aborted) {
      signalProcess(pid, 'SIGSTOP');
      await pause(PAUSE_MS);
      if (ended.signal.aborted) return;
      // Its number may be another process's soon.
      if ((await processIdentity(pid)) === null) return;
      signalProcess(pid, 'SIGCONT');
      await pause(RUN_MS);
    }
  })();
  const endAs = async (signal: NodeJS.Signals): Promise<void> => {
    ended.abort();
    signalProcess(pid, signal);
    await life;
  };
  return { atFullSpeed: () => endAs('SIGCONT'), halt: () => endAs('SIGSTOP') };
}

/** Locks a table against writers until the returned function is called: whoever writes to it waits. */
export async function lockTable(databaseUrl: string, table: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('begin');
  await client.query(`lock table ${table} in exclusive mode`);
  return async () => {
    await client.query('rollback');
    await client.end();
  };
}

/** Process numbers of the training programs that a GPU worker runs now. */
export const trainersOf = childrenOf;

/** The first of them; waits for it, because an attempt is RUNNING a moment before its program is a process. */
export const trainerOf = (workerPid: number): Promise<number> =>
  eventually(async () => {
    const [pid] = await trainersOf(workerPid);
    if (pid === undefined) throw new Error('no training program runs');
    return pid;
  });

/** A process and everything that descends from it, whatever group or session it leads. */
export async function processTree(pid: number): Promise<number[]> {
  const below = await Promise.all((await childrenOf(pid)).map(processTree));
  return [pid, ...below.flat()];
}

async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return children
    .split(' ')
    .filter((child) => child.trim() !== '')
    .map(Number);
}
