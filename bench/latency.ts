import { randomUUID } from 'node:crypto';
import { startCommand } from '../test/support/engine-harness.ts';
import { BenchWorker } from './engine/bench-worker.ts';
import { type BenchDatabase, BUS_OPTION, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { startProgram } from './support/processes.ts';
import { median, print, printGoal, printRounds, quantile, type Row } from './support/report.ts';

const ORCHESTRATOR = new URL('./engine/orchestrator.ts', import.meta.url);
const WARM_UP_WORKFLOWS = 200;

export const latency: Benchmark = {
  name: 'latency',
  summary: 'one workflow at a time: an activity ends -> the command for the next one arrives',
  options: {
    workflows: { standard: 500, summary: 'workflows of one round, each gives two samples' },
    rounds: { standard: 5, summary: 'rounds' },
    'semi-space': { standard: 32, summary: 'young generation of the orchestrator in MB; the supervisor sets 32' },
    bus: BUS_OPTION,
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: false, summary: "write the orchestrator's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase(
      { title: 'latency', statements: options.flag('statements'), bus: options.text('bus') },
      async (bench) => {
        const orchestrator = await startProgram(
          ORCHESTRATOR,
          { place: bench.place, maxBatch: 300 },
          { semiSpaceMb: options.number('semi-space'), profile: options.flag('profile') },
        );
        const worker = await BenchWorker.start(bench, 64);
        const hop = async (): Promise<number[]> => oneWorkflow(bench, worker);
        for (let i = 0; i < WARM_UP_WORKFLOWS; i++) await hop();

        const onKafka = options.text('bus') === 'kafka';
        const workflows = options.number('workflows');
        print(
          `\n${2 * workflows} events a round, one workflow at a time; CPU and WAL per event, starts and ends included`,
        );
        const rows: Row[] = [];
        for (let round = 0; round < options.number('rounds'); round++) {
          const samples: number[] = [];
          const meter = await Meter.start(
            { ...bench.servers, orchestrator: orchestrator.pid, 'bench (worker)': process.pid },
            bench,
          );
          for (let i = 0; i < workflows; i++) samples.push(...(await hop()));
          const readings = await meter.stop();
          rows.push({
            'p50 ms': quantile(samples, 0.5).toFixed(2),
            'p99 ms': quantile(samples, 0.99).toFixed(2),
            'max ms': quantile(samples, 1).toFixed(1),
            ...costColumns(readings, samples.length),
          });
        }
        printRounds(rows);
        printGoal('event in -> next command out, p50', median(rows.map((row) => Number(row['p50 ms']))), 'ms', {
          atMost: onKafka ? 10 : 5,
        });
        printGoal('event in -> next command out, p99', median(rows.map((row) => Number(row['p99 ms']))), 'ms', {
          atMost: onKafka ? 60 : 25,
        });
        await worker.close();
        await orchestrator.stop();
      },
    ),
};

/** From the call that publishes the end of an activity to the arrival of the command for the next; two samples. */
async function oneWorkflow({ bus, codec }: BenchDatabase, worker: BenchWorker): Promise<number[]> {
  const samples: number[] = [];
  let waiting = worker.take(10);
  await bus.publish([startCommand(`wf-${randomUUID()}`, 'three_steps', { value: 1 }, 1, codec)]);
  for (let step = 0; step < 3; step++) {
    const [command] = await waiting;
    if (command === undefined) throw new Error('no command came');
    const answer = worker.completed(command, null);
    // The third activity is the last: its end leads to no command.
    if (step === 2) {
      await bus.publish([answer]);
      break;
    }
    waiting = worker.take(10);
    const began = performance.now();
    const published = bus.publish([answer]);
    await waiting;
    samples.push(performance.now() - began);
    await published;
  }
  return samples;
}
