import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '#lib/postgres/database.ts';
import { startCommand } from '../test/support/engine-harness.ts';
import { WAIT_SECONDS } from './engine/bench-workflows.ts';
import { type BenchDatabase, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { startProgram } from './support/processes.ts';
import { median, print, printGoal, printRounds, quantile, type Row } from './support/report.ts';

const ORCHESTRATOR = new URL('./engine/orchestrator.ts', import.meta.url);
const TICK_MS = 10;
const DAY_MS = 86_400_000;
const PARTITIONS = 8;
const GIVE_UP_MS = 120_000;

export const timers: Benchmark = {
  name: 'timers',
  summary: 'how late durable timers fire while many are pending',
  options: {
    pending: { standard: 100_000, summary: 'timers of tomorrow that lie in the table all the time' },
    rate: { standard: 1_000, summary: 'timers that become due a second' },
    seconds: { standard: 20, summary: 'for so many seconds; below the 25 s that each of them waits' },
    rounds: { standard: 3, summary: 'rounds' },
    'semi-space': { standard: 32, summary: 'young generation of the orchestrator in MB; the supervisor sets 32' },
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: false, summary: "write the orchestrator's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase({ title: 'timers', statements: options.flag('statements') }, async (bench) => {
      const [pending, rate, seconds] = [options.number('pending'), options.number('rate'), options.number('seconds')];
      if (seconds >= WAIT_SECONDS) throw new Error(`--seconds is below ${WAIT_SECONDS}`);
      await bench.database.query(
        `insert into timers select 'far-' || n, 'alarm', n % $2::int, $3::bigint + n from generate_series(1, $1::int) n`,
        [pending, PARTITIONS, Date.now() + DAY_MS],
      );
      await bench.database.query('analyze timers');
      const orchestrator = await startProgram(
        ORCHESTRATOR,
        { place: bench.place, maxBatch: 300 },
        { semiSpaceMb: options.number('semi-space'), profile: options.flag('profile') },
      );
      print(
        `\n${pending} timers pending, ${rate}/s due for ${seconds} s; CPU and WAL per timer, the workflow's end included`,
      );
      const rows: Row[] = [];
      for (let round = 0; round < options.number('rounds'); round++) {
        const run = `wait-${randomUUID().slice(0, 8)}`;
        await startWaiting(bench, run, rate, seconds);
        // The first fires when the last was started a while ago: from here on nothing but timers happens.
        const firstDueMs = await firstDue(bench.database, run);
        await delay(Math.max(0, firstDueMs - Date.now() - 200));
        const meter = await Meter.start({ orchestrator: orchestrator.pid }, bench);
        await delay(Math.max(0, firstDueMs + seconds * 1_000 + 500 - Date.now()));
        const readings = await meter.stop();
        await allFired(bench.database, run, rate * seconds);
        const late = await lateness(bench.database, run, rate * seconds);
        rows.push({
          'p50 ms': quantile(late, 0.5).toFixed(1),
          'p99 ms': quantile(late, 0.99).toFixed(1),
          'max ms': quantile(late, 1).toFixed(1),
          ...costColumns(readings, late.length),
        });
      }
      printRounds(rows);
      printGoal('lateness p99', median(rows.map((row) => Number(row['p99 ms']))), 'ms', { atMost: 50 });
      await orchestrator.stop();
    }),
};

async function startWaiting({ bus }: BenchDatabase, run: string, rate: number, seconds: number): Promise<void> {
  const begin = performance.now();
  const perTick = (rate * TICK_MS) / 1_000;
  for (let tick = 0, n = 0; n < rate * seconds; tick++) {
    const until = Math.min(rate * seconds, Math.round((tick + 1) * perTick));
    const commands = [];
    for (; n < until; n++) commands.push(startCommand(`${run}-${n}`, 'one_wait', null));
    await bus.publish(commands);
    await delay(Math.max(0, begin + (tick + 1) * TICK_MS - performance.now()));
  }
}

async function firstDue(database: Database, run: string): Promise<number> {
  const { rows } = await database.query<{ at_ms: number }>(
    'select min(fire_at_ms) as at_ms from timers where workflow_id like $1',
    [`${run}-%`],
  );
  return rows[0]?.at_ms ?? 0;
}

/** Waits for the last: when the engine cannot keep up, the lateness says so and not an error. */
async function allFired(database: Database, run: string, expected: number): Promise<void> {
  for (const until = Date.now() + GIVE_UP_MS; Date.now() < until; await delay(1_000)) {
    const { rows } = await database.query<{ n: number }>(
      `select count(*) as n from workflows where workflow_id like $1 and status = 'done'`,
      [`${run}-%`],
    );
    if (rows[0]?.n === expected) return;
  }
}

/** Time of the `TimerFired` event minus the time it was set for. Throws when a timer has not fired, or fired twice. */
async function lateness(database: Database, run: string, expected: number): Promise<number[]> {
  const { rows } = await database.query<{ late_ms: number }>(
    `select f.at_ms - s.at_ms - $2::bigint as late_ms from events f join events s on s.workflow_id = f.workflow_id and s.seq = 1
     where f.workflow_id like $1 and f.type = 'TimerFired'`,
    [`${run}-%`, WAIT_SECONDS * 1_000],
  );
  if (rows.length !== expected) throw new Error(`${rows.length} of ${expected} timers fired`);
  return rows.map((row) => row.late_ms);
}
