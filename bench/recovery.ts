import { setTimeout as delay } from 'node:timers/promises';
import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import { startCommand } from '../test/support/engine-harness.ts';
import { BenchWorker } from './engine/bench-worker.ts';
import { type BenchDatabase, BUS_OPTION, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { end, FINE_TUNE_INPUT, PUBLISH_CHUNK, publish, startOrchestrator } from './support/product-orchestrator.ts';
import { median, print, printGoal, printTable, type Row } from './support/report.ts';

/** Above what a bus lets a member stay silent: a killed orchestrator is out of the group by then. */
const SESSION_OVER_MS = 7_000;
/** What each step of fine_tune@1 has to answer for the machine to go on; one step is one round. */
const ANSWERS: readonly unknown[] = [
  {},
  { data: { manifestKey: 'data/manifest.json', digest: 'a'.repeat(64) }, vocabularySize: 1_024 },
  { workspace: 'workspace/bench' },
  { outputFolder: 'output', metrics: {} },
  { runId: 'run', artifacts: { manifestKey: 'artifacts/manifest.json', digest: 'a'.repeat(64) } },
];

type Variant = 'session over' | 'at once' | 'at once, same name';

/** As many as there are answers. Those that a goal speaks of come first: logs and states grow by a step each round. */
const VARIANTS: readonly Variant[] = [
  'at once, same name',
  'at once, same name',
  'at once, same name',
  'session over',
  'at once',
];

export const recovery: Benchmark = {
  name: 'recovery',
  summary: 'kill -9 of the orchestrator with many open workflows: time to the first and to the last new decision',
  options: {
    workflows: { standard: 10_000, summary: 'open workflows, of the real fine_tune type' },
    events: { standard: 30, summary: 'events in the log of each when the orchestrator is killed for the first time' },
    bus: BUS_OPTION,
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: false, summary: "write the last orchestrator's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase(
      { title: 'recovery', statements: options.flag('statements'), bus: options.text('bus') },
      async (bench) => {
        const [workflows, events] = [options.number('workflows'), options.number('events')];
        const profile = options.flag('profile');
        const worker = await BenchWorker.start(bench, workflows * 4);
        let process = await startOrchestrator(bench, null, profile);
        print(`\nwriting ${workflows} logs of ${events} events through the engine`);
        let commands = await writeLogs(bench, worker, { workflows, events });
        await printSizes(bench);
        const rows: Row[] = [];
        for (const [round, variant] of VARIANTS.entries()) {
          // The named one has to be there, and to own everything, before it is killed.
          if (variant === 'at once, same name' && VARIANTS[round - 1] !== variant) {
            await end(process);
            process = await startOrchestrator(bench, 'bench', profile);
            await process.tookOver;
            await delay(SESSION_OVER_MS);
          }
          await end(process);
          await publish(
            bench,
            commands.map((command) => worker.completed(command, ANSWERS[round])),
          );
          if (variant === 'session over') await delay(SESSION_OVER_MS);
          const result = await recover(bench, worker, { workflows, variant, profile, former: commands });
          process = result.process;
          commands = result.commands;
          rows.push({ 'new orchestrator starts': variant, ...result.row });
        }
        print(
          '\nseconds since the start of the new process; "after takeover": since it owned the shards; CPU and WAL per workflow',
        );
        printTable(rows);
        printGoals(rows, workflows, options.text('bus') === 'kafka');
        await end(process, profile ? 'SIGTERM' : 'SIGKILL');
        await worker.close();
      },
    ),
};

/** What a fact and an open workflow take on disk, indexes and dead rows included. */
async function printSizes({ database }: BenchDatabase): Promise<void> {
  const { rows } = await database.query<{ table: string; n: number; bytes: number }>(
    `select 'events' as table, (select count(*) from events)::int as n, pg_total_relation_size('events') as bytes
     union all select 'workflows', (select count(*) from workflows)::int, pg_total_relation_size('workflows')
     union all select 'activities', (select count(*) from activities)::int, pg_total_relation_size('activities')`,
  );
  print('\nsize of the tables, indexes included');
  printTable(
    rows.map(({ table, n, bytes }) => ({ table, rows: String(n), 'bytes a row': (bytes / Math.max(1, n)).toFixed(0) })),
  );
}

/** Medians of the rounds that a goal speaks of. On Kafka the goal is that of a named orchestrator: nameless, it waits for a session to run out. */
function printGoals(rows: readonly Row[], workflows: number, onKafka: boolean): void {
  const of = (variant: Variant, column: string): number =>
    median(rows.filter((row) => row['new orchestrator starts'] === variant).map((row) => Number(row[column])));
  for (const variant of onKafka
    ? (['at once, same name'] as const)
    : (['session over', 'at once, same name'] as const)) {
    const atMost = onKafka ? 2 : 1;
    printGoal(`${variant}: first new decision, process start included`, of(variant, 'first'), 's', { atMost });
    printGoal(`${variant}: first new decision after takeover`, of(variant, 'first after takeover'), 's', { atMost });
    printGoal(`${variant}: all ${workflows} served, process start included`, of(variant, 'all'), 's', { atMost: 5 });
  }
}

/** Starts the workflows and reports checkpoints for their first activity until each log has its length. Returns the first commands. */
async function writeLogs(
  bench: BenchDatabase,
  worker: BenchWorker,
  { workflows, events }: { workflows: number; events: number },
): Promise<ExecuteActivity[]> {
  const ids = Array.from({ length: workflows }, (_, i) => `wf-recovery-${i}`);
  await publish(
    bench,
    ids.map((id) => startCommand(id, 'fine_tune', FINE_TUNE_INPUT, 1, bench.codec)),
  );
  const commands = await takeAll(worker, { count: workflows, former: [] });
  await publish(
    bench,
    commands.map((command) => worker.started(command)),
  );
  for (let step = 1; step <= events - 2; step++)
    await publish(
      bench,
      commands.map((command) => worker.checkpoint(command, step)),
    );
  for (;;) {
    const { rows } = await bench.database.query<{ n: number }>('select sum(seq)::bigint as n from workflows');
    if ((rows[0]?.n ?? 0) >= workflows * events) return commands;
    await delay(500);
  }
}

/** The next command of each workflow. What a bus brings a second time (the outbox of a killed process is published by another) is no decision. */
async function takeAll(
  worker: BenchWorker,
  { count, former, onFirst }: { count: number; former: readonly ExecuteActivity[]; onFirst?: () => void },
): Promise<ExecuteActivity[]> {
  const known = new Map(former.map((command) => [command.workflowId, command.activityId]));
  const commands = new Map<string, ExecuteActivity>();
  while (commands.size < count) {
    for (const command of await worker.take(PUBLISH_CHUNK))
      if (known.get(command.workflowId) !== command.activityId) commands.set(command.workflowId, command);
    if (commands.size > 0) onFirst?.();
  }
  return [...commands.values()];
}

interface RecoverOptions {
  readonly workflows: number;
  readonly variant: Variant;
  readonly profile: boolean;
  /** The commands that were answered while nobody listened. */
  readonly former: readonly ExecuteActivity[];
}

async function recover(
  bench: BenchDatabase,
  worker: BenchWorker,
  { workflows, variant, profile, former }: RecoverOptions,
) {
  const process = await startOrchestrator(bench, variant === 'at once, same name' ? 'bench' : null, profile);
  const meter = await Meter.start({ ...bench.servers, orchestrator: process.child.pid ?? 0 }, bench);
  let firstAt: number | null = null;
  const onFirst = (): void => void (firstAt ??= performance.now());
  const commands = await takeAll(worker, { count: workflows, former, onFirst });
  const allAt = performance.now();
  const readings = await meter.stop();
  const tookOverAt = await process.tookOver;
  const seconds = (from: number, to: number | null): string => (((to ?? Number.NaN) - from) / 1_000).toFixed(2);
  const row: Row = {
    takeover: seconds(process.startedAt, tookOverAt),
    first: seconds(process.startedAt, firstAt),
    'first after takeover': seconds(tookOverAt, firstAt),
    all: seconds(process.startedAt, allAt),
    'all after takeover': seconds(tookOverAt, allAt),
    ...costColumns(readings, workflows),
  };
  return { process, commands, row };
}
