import { ACTIVITIES } from '#lib/contracts/activities.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { Fact } from '../services/orchestrator/domain/facts.ts';
import { evolve, type WorkflowState } from '../services/orchestrator/domain/workflow-state.ts';
import { workflowRegistry } from '../services/orchestrator/domain/workflows/registry.ts';
import { startWorker } from '../test/support/engine-harness.ts';
import { hpoInput } from '../test/support/flows/flow-inputs.ts';
import { plausibleOutput } from '../test/support/flows/flow-outputs.ts';
import { createProject, takeIn } from '../test/support/flows/flow-site.ts';
import { type BenchDatabase, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { end, startOrchestrator } from './support/product-orchestrator.ts';
import { print, printGoal, printRounds, quantile, type Row } from './support/report.ts';

const WORKFLOW_ID = 'wf-sweep';
const CURVE = [20, 40, 60, 80, 100];
/** Looked at this often whether the search is over. */
const LOOK_EVERY_MS = 100;

export const sweep: Benchmark = {
  name: 'sweep',
  summary: 'one search with trainers that do nothing: trials a second, and the time of each decision of its controller',
  options: {
    trials: { standard: 1_000, summary: 'trials, a workflow of five activities each' },
    concurrent: { standard: 64, summary: 'trials at once' },
    profile: { standard: false, summary: 'write a .cpuprofile of the orchestrator to the temporary folder' },
  },
  run: (options) =>
    withDatabase({ title: 'sweep' }, async (bench) => {
      const trials = options.number('trials');
      const concurrent = options.number('concurrent');
      await createProject(bench.database, 1_000_000);
      const workers = [];
      for (const lane of ['cpu', 'gpu'] as const)
        workers.push(await startWorker(bench.place, activities(), { lane, slots: 4 * concurrent }));
      const orchestrator = await startOrchestrator(bench, null, options.flag('profile'));
      await orchestrator.tookOver;
      print(`\n${trials} trials, ${concurrent} at once, random sampler, livePercentile; CPU and WAL per trial`);
      printRounds([await search(bench, { orchestrator: orchestrator.child.pid ?? 0 }, trials, concurrent)]);
      await end(orchestrator, 'SIGTERM');
      for (const worker of workers) await worker.close();
      await reportDecisions(bench);
    }),
};

/** Every activity answers at once; training reports a curve of five points first. */
function activities(): Record<string, (context: ActivityContext) => Promise<unknown>> {
  const answer = async ({ input }: ActivityContext, name: string): Promise<unknown> => plausibleOutput(name, input);
  return Object.fromEntries(
    Object.keys(ACTIVITIES).map((name) => [
      name,
      async (context) => {
        if (name === 'run_training') {
          const { learningRate } = (context.input as { spec: { hyperparameters: { learningRate: number } } }).spec
            .hyperparameters;
          const value = (step: number): number => learningRate + 1 / step;
          context.metrics(CURVE.map((step) => ({ name: 'validation.loss', step, value: value(step) })));
        }
        return answer(context, name);
      },
    ]),
  );
}

async function search(
  bench: BenchDatabase,
  programs: Readonly<Record<string, number>>,
  trials: number,
  maxConcurrent: number,
): Promise<Row> {
  const pruning = {
    strategy: 'livePercentile' as const,
    drop: 0.25,
    warmUpSteps: 20,
    everySteps: 20,
    minimumTrials: 4,
  };
  const input = { ...hpoInput({ trials, maxConcurrent, pruning }), jobId: 'job-sweep' };
  const start = await takeIn(bench.database, WORKFLOW_ID, 'hpo', input);
  const meter = await Meter.start({ ...programs, workers: process.pid }, bench);
  await bench.bus.publish([start]);
  for (;;) {
    const { rows } = await bench.database.query<{ status: string }>(`select status from jobs where id = 'job-sweep'`);
    const status = rows[0]?.status;
    if (status === 'COMPLETED') break;
    if (status === 'FAILED') throw new Error('the search failed');
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  const readings = await meter.stop();
  return {
    'trials/s': (trials / readings.seconds).toFixed(1),
    seconds: readings.seconds.toFixed(1),
    ...costColumns(readings, trials),
  };
}

/** The log of the search folded once more, each fact timed alone: what the controller takes for it, without database and bus. */
async function reportDecisions({ database }: BenchDatabase): Promise<void> {
  const { rows } = await database.query<{ type: Fact['type']; data: unknown; at_ms: number }>(
    'select type, data, at_ms from events where workflow_id = $1 order by seq',
    [WORKFLOW_ID],
  );
  const registry = workflowRegistry();
  const times: number[] = [];
  let state: WorkflowState | null = null;
  for (const { type, data, at_ms: atMs } of rows) {
    const before = performance.now();
    state = evolve(registry, WORKFLOW_ID, state, { type, data } as Fact, atMs).state;
    times.push(performance.now() - before);
  }
  const { rows: snapshots } = await database.query<{ bytes: number }>(
    `select coalesce(length(snapshot::text), 0) as bytes from workflows where workflow_id = $1`,
    [WORKFLOW_ID],
  );
  print(
    `\n${rows.length} facts in the search's log, ${((snapshots[0]?.bytes ?? 0) / 1e6).toFixed(1)} MB in its snapshot`,
  );
  print(`decision p50 ${quantile(times, 0.5).toFixed(2)} ms, largest ${Math.max(...times).toFixed(1)} ms`);
  printGoal('a decision of the controller, p99', quantile(times, 0.99), 'ms', { atMost: 20 });
}
