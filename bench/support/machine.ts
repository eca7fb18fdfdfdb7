import { readdirSync, readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

const TICKS_PER_SECOND = 100;
const PROC_STAT_FIELDS = { userTicks: 11, systemTicks: 12, childUserTicks: 13, childSystemTicks: 14, parent: 1 };

/** The figures come from /proc: without it there would be numbers without their context, and those are worth nothing. */
export function requireLinux(): void {
  if (process.platform !== 'linux')
    throw new Error('this benchmark reads CPU time and memory from /proc and runs on Linux only');
}

/** What a figure has to be quoted with. */
export function machineKind(): string {
  const [first] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${new Date().toISOString().slice(0, 16)}Z, ${cpus().length} cores ${first?.model ?? 'unknown'}, ${memory}, Node ${process.version}`;
}

function statOf(pid: number): readonly string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

const ms = (fields: readonly string[], ...names: readonly (keyof typeof PROC_STAT_FIELDS)[]): number =>
  (names.reduce((sum, name) => sum + Number(fields[PROC_STAT_FIELDS[name]]), 0) * 1_000) / TICKS_PER_SECOND;

/** User and system CPU time of a process so far, ms; in steps of 10. */
export const cpuMs = (pid: number): number => ms(statOf(pid), 'userTicks', 'systemTicks');

/** The same of a process, of its children that ended, and of those that live: PostgreSQL with its backends. */
export function familyCpuMs(pid: number): number {
  const own = ms(statOf(pid), 'userTicks', 'systemTicks', 'childUserTicks', 'childSystemTicks');
  return childrenOf(pid).reduce((sum, child) => {
    try {
      return sum + cpuMs(child);
    } catch {
      // Ended between the listing and the look.
      return sum;
    }
  }, own);
}

/** Direct children of a process. */
export function childrenOf(pid: number): number[] {
  const text = readdirSync(`/proc/${pid}/task`).map((thread) => {
    return readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8');
  });
  return text.join(' ').split(/\s+/).filter(Boolean).map(Number);
}

/** A process with everything below it. */
export const descendantsOf = (pid: number): number[] => [pid, ...childrenOf(pid).flatMap(descendantsOf)];

/** CPU time of all cores: busy, ms. */
export function machineBusyMs(): number {
  const [, ...ticks] = (readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '').split(/\s+/).map(Number);
  const total = ticks.slice(0, 8).reduce((a, b) => a + b, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return ((total - idle) * 1_000) / TICKS_PER_SECOND;
}

export interface Memory {
  /** Resident pages, shared ones counted in every process that has them. */
  readonly rssMb: number;
  /** Shared pages divided by their users: adds up to what the machine really holds. */
  readonly pssMb: number;
}

/** Memory of one process, MB (10^6 bytes). */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);
  return { rssMb: (kib('Rss') * 1_024) / 1e6, pssMb: (kib('Pss') * 1_024) / 1e6 };
}
