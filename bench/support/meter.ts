import type { Database } from '#lib/postgres/database.ts';
import { cpuMs, familyCpuMs, machineBusyMs } from './machine.ts';

export interface Readings {
  readonly seconds: number;
  /** CPU ms by process. */
  readonly cpuMs: Readonly<Record<string, number>>;
  /** All of them together. */
  readonly ownCpuMs: number;
  /** Cores that everybody else on the machine used meanwhile. */
  readonly otherCores: number;
  readonly walBytes: number;
}

export interface MeteredServer {
  /** Of the postmaster. */
  readonly pid: number;
  readonly database: Database;
}

/** Measures what a stretch of work costs: CPU time by process, WAL, and what else ran on the machine. */
export class Meter {
  readonly #processes: Readonly<Record<string, number>>;
  readonly #server: MeteredServer | null;
  readonly #startedAt = performance.now();
  readonly #cpu: Readonly<Record<string, number>>;
  readonly #busyMs = machineBusyMs();
  #walBytes = 0;

  private constructor(processes: Readonly<Record<string, number>>, server: MeteredServer | null) {
    this.#processes = processes;
    this.#server = server;
    this.#cpu = this.#cpuNow();
  }

  /** `processes`: process id by name. Every one has to live until `stop`. */
  static async start(processes: Readonly<Record<string, number>>, server: MeteredServer | null): Promise<Meter> {
    const walBytes = server === null ? 0 : await walOf(server.database);
    const meter = new Meter(processes, server);
    meter.#walBytes = walBytes;
    return meter;
  }

  async stop(): Promise<Readings> {
    const seconds = (performance.now() - this.#startedAt) / 1_000;
    const now = this.#cpuNow();
    const busyMs = machineBusyMs() - this.#busyMs;
    const spent = Object.fromEntries(Object.entries(now).map(([name, ms]) => [name, ms - (this.#cpu[name] ?? 0)]));
    const ownCpuMs = Object.values(spent).reduce((a, b) => a + b, 0);
    const walBytes = this.#server === null ? 0 : (await walOf(this.#server.database)) - this.#walBytes;
    // Ticks of 10 ms in two places: a quiet machine may come out a little below zero.
    const otherCores = Math.max(0, (busyMs - ownCpuMs) / (seconds * 1_000));
    return { seconds, cpuMs: spent, ownCpuMs, otherCores, walBytes };
  }

  #cpuNow(): Record<string, number> {
    const now: Record<string, number> = {};
    if (this.#server !== null) now['postgres'] = familyCpuMs(this.#server.pid);
    for (const [name, pid] of Object.entries(this.#processes)) now[name] = cpuMs(pid);
    return now;
  }
}

/** The columns of a table that say what a stretch of work cost per unit. */
export function costColumns(readings: Readings, units: number): Record<string, string> {
  const columns: Record<string, string> = { 'CPU ms': perUnit(readings.ownCpuMs, units) };
  for (const [name, ms] of Object.entries(readings.cpuMs)) columns[name] = perUnit(ms, units);
  if (readings.walBytes > 0) columns['WAL kB'] = (readings.walBytes / units / 1_000).toFixed(1);
  columns['other load'] = readings.otherCores.toFixed(2);
  return columns;
}

function perUnit(ms: number, units: number): string {
  const value = ms / units;
  return value.toFixed(value < 1 ? 3 : 2);
}

async function walOf(database: Database): Promise<number> {
  const { rows } = await database.query<{ bytes: string }>(
    `select (pg_current_wal_insert_lsn() - '0/0')::text as bytes`,
  );
  return Number(rows[0]?.bytes);
}
