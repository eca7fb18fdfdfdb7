import { mulberry32 } from '#lib/kernel/random.ts';
import { type SchedulerSnapshot, scheduleCycle } from '../services/orchestrator/domain/scheduler.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind } from './support/machine.ts';
import { print, printGoal, printTable, quantile } from './support/report.ts';

const WARM_UP_CYCLES = 50;
const SEED = 20_261_124;
const LATEST_SUBMISSION_MS = 1_000_000;

export const scheduler: Benchmark = {
  name: 'scheduler',
  summary: 'CPU of one placement cycle, pure and in memory',
  options: {
    jobs: { standard: 10_000, summary: 'pending activities' },
    projects: { standard: 100, summary: 'projects, each with a cap' },
    slots: { standard: 1_000, summary: 'free slots, over 50 workers of both lanes' },
    cycles: { standard: 300, summary: 'cycles measured' },
  },
  run: async (options) => {
    const size = { jobs: options.number('jobs'), projects: options.number('projects'), slots: options.number('slots') };
    const snapshot = snapshotOf(size);
    print(`scheduler\n${machineKind()}\n`);
    for (let i = 0; i < WARM_UP_CYCLES; i++) scheduleCycle(snapshot);
    const samples: number[] = [];
    let placed = 0;
    for (let i = 0; i < options.number('cycles'); i++) {
      const before = process.cpuUsage();
      placed = scheduleCycle(snapshot).placements.length;
      const { user, system } = process.cpuUsage(before);
      samples.push((user + system) / 1_000);
    }
    const cycle = quantile(samples, 0.5);
    printTable([
      {
        'pending jobs': String(size.jobs),
        projects: String(size.projects),
        slots: String(size.slots),
        placed: String(placed),
        'CPU ms p50': cycle.toFixed(2),
        'CPU ms p99': quantile(samples, 0.99).toFixed(2),
        'million jobs/CPU s': (size.jobs / cycle / 1_000).toFixed(1),
      },
    ]);
    printGoal('CPU of one cycle', cycle, 'ms', { atMost: 10 });
  },
};

/** A queue in random order: four priorities, one in twenty in back-off, caps that stop about a third of the projects. */
function snapshotOf(size: { jobs: number; projects: number; slots: number }): SchedulerSnapshot {
  const random = mulberry32(SEED);
  const below = (n: number): number => Math.floor(random.next() * n);
  const workers = 50;
  return {
    queue: Array.from({ length: size.jobs }, (_, i) => ({
      workflowId: `wf-fine_tune-p${i % size.projects}-${below(1e9)}`,
      activityId: 'run_training',
      epoch: 1,
      lane: below(2) === 0 ? ('cpu' as const) : ('gpu' as const),
      project: `project-${below(size.projects)}`,
      priority: below(4),
      submittedAtMs: below(LATEST_SUBMISSION_MS),
      notBeforeMs: below(20) === 0 ? LATEST_SUBMISSION_MS * 3 : 0,
      workflowRuns: below(4) === 0,
    })),
    workers: Array.from({ length: workers }, (_, i) => ({
      workerId: `worker-${i}`,
      lane: i % 2 === 0 ? ('cpu' as const) : ('gpu' as const),
      free: Math.round(size.slots / workers),
    })),
    projects: new Map(
      Array.from({ length: size.projects }, (_, i) => [`project-${i}`, { running: 0, cap: 2 + below(20) }]),
    ),
    nowMs: LATEST_SUBMISSION_MS * 2,
  };
}
