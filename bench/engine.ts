import type { ClientAnswer, ClientRequest } from './engine/client.ts';
import { type BenchDatabase, BUS_OPTION, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { type Program, startProgram } from './support/processes.ts';
import { median, print, printGoal, printRounds, type Row } from './support/report.ts';

const CLIENT = new URL('./engine/client.ts', import.meta.url);
const WORKER = new URL('./engine/worker.ts', import.meta.url);
const ORCHESTRATOR = new URL('./engine/orchestrator.ts', import.meta.url);

/** Runs after which every code path and statement is warm. */
const WARM_UP = { total: 4_000, inFlight: 256 };

export const engine: Benchmark = {
  name: 'engine',
  summary: 'workflows of three trivial CPU-lane activities: runs a second, and latency of one at a time',
  options: {
    runs: { standard: 20_000, summary: 'runs of one round at full load' },
    'in-flight': { standard: 1_024, summary: 'workflows open at once at full load' },
    single: { standard: 1_000, summary: 'runs of one round one at a time; 0 leaves that part out' },
    rounds: { standard: 5, summary: 'rounds' },
    batch: { standard: 300, summary: 'messages of one transaction at most (MAX_BATCH)' },
    'semi-space': { standard: 32, summary: 'young generation of the orchestrator in MB; the supervisor sets 32' },
    bus: BUS_OPTION,
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: '', summary: 'orchestrator, worker or client: write its .cpuprofile to the temporary folder' },
  },
  run: (options) =>
    withDatabase(
      { title: 'engine', statements: options.flag('statements'), bus: options.text('bus') },
      async (bench) => {
        const { place } = bench;
        const profile = options.text('profile');
        const inFlight = options.number('in-flight');
        const onKafka = options.text('bus') === 'kafka';
        const rounds = options.number('rounds');
        const programs: Programs = {
          orchestrator: await startProgram(
            ORCHESTRATOR,
            { place, maxBatch: options.number('batch') },
            { semiSpaceMb: options.number('semi-space'), profile: profile === 'orchestrator' },
          ),
          // Twice the slots: a slot is free again only when the orchestrator has seen the answer.
          worker: await startProgram(
            WORKER,
            { place, slots: Math.max(64, inFlight * 2) },
            { profile: profile === 'worker' },
          ),
          client: await startProgram(CLIENT, { place }, { profile: profile === 'client' }),
        };
        await programs.client.request(WARM_UP);
        const full = { total: options.number('runs'), inFlight };
        const speed = await measure(bench, programs, full, rounds);
        printGoal('three-step runs', median(speed.map((row) => Number(row['runs/s']))), 'a second', {
          atLeast: onKafka ? 700 : 1_500,
        });
        if (options.number('single') > 0) {
          const single = await measure(bench, programs, { total: options.number('single'), inFlight: 1 }, rounds);
          printGoal('one run at a time, p50', median(single.map((row) => Number(row['p50 ms']))), 'ms', { atMost: 20 });
          printGoal('one run at a time, p99', median(single.map((row) => Number(row['p99 ms']))), 'ms', { atMost: 50 });
        }
        for (const program of Object.values(programs)) await program.stop();
      },
    ),
};

type Programs = Readonly<Record<'orchestrator' | 'worker' | 'client', Program>>;

async function measure(
  bench: BenchDatabase,
  programs: Programs,
  request: ClientRequest,
  rounds: number,
): Promise<Row[]> {
  print(`\n${request.total} runs a round, ${request.inFlight} in flight; CPU and WAL per run`);
  const pids = {
    ...bench.servers,
    ...Object.fromEntries(Object.entries(programs).map(([name, program]) => [name, program.pid])),
  };
  const rows: Row[] = [];
  for (let round = 0; round < rounds; round++) {
    const meter = await Meter.start(pids, bench);
    const answer = await programs.client.request<ClientAnswer>(request);
    const readings = await meter.stop();
    rows.push({
      'runs/s': (request.total / answer.seconds).toFixed(0),
      'p50 ms': answer.p50Ms.toFixed(1),
      'p99 ms': answer.p99Ms.toFixed(1),
      ...costColumns(readings, request.total),
    });
  }
  printRounds(rows);
  return rows;
}
