import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invariant } from '#lib/kernel/errors.ts';

/** The nth argument of a benchmark process. */
export function argument(n: number): string {
  const value = process.argv[2 + n];
  invariant(value !== undefined, `argument ${n} is missing`);
  return value;
}

/** Tells the parent that the process serves, and closes it when the parent says so. */
export function ready(close: () => Promise<void>): void {
  process.on('message', () => void close().then(() => process.exit(0)));
  process.on('disconnect', () => process.exit(1));
  process.send?.('ready');
}

/** Starts a process of the benchmark and waits until it serves. */
export async function start(name: string, args: readonly string[]): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, `${name}.ts`), [...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [
      ...(process.env['SEMI'] ? ['--max-semi-space-size=' + process.env['SEMI']] : []),
      ...(process.env['PROF'] === name ? ['--cpu-prof', '--cpu-prof-dir=/tmp/prof'] : []),
    ],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
  });
  return child;
}

export async function stop(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.send('stop');
  await exited;
}

const TICKS_PER_SECOND = 100;

/** User and system CPU time of a process so far, ms (Linux). */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** CPU time of a PostgreSQL server and all its backends, those that ended included, ms. */
export function postgresCpuMs(serverPid: number): number {
  const stat = readFileSync(`/proc/${serverPid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ended = ((Number(fields[13]) + Number(fields[14])) * 1_000) / TICKS_PER_SECOND;
  return children(serverPid).reduce((sum, pid) => sum + cpuMs(pid), cpuMs(serverPid) + ended);
}

function children(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

/** Jiffies of all cores: busy and in all, to tell how much other work the machine did. */
export function machineCpuMs(): { busyMs: number; totalMs: number } {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).map(Number);
  const total = ticks.slice(0, 8).reduce((a, b) => a + b, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { busyMs: ((total - idle) * 1_000) / TICKS_PER_SECOND, totalMs: (total * 1_000) / TICKS_PER_SECOND };
}
