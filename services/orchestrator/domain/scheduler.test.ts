import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  byPriorityThenSubmission,
  type QueuedActivity,
  scheduleCycle,
  type SchedulerSnapshot,
  WAIT_REASONS,
} from './scheduler.ts';

const NOW = 1_000;
const queued = (workflowId: string, change: Partial<QueuedActivity> = {}): QueuedActivity => ({
  workflowId,
  activityId: 'a',
  epoch: 1,
  lane: 'cpu',
  project: 'p',
  priority: 1,
  submittedAtMs: 0,
  notBeforeMs: 0,
  workflowRuns: false,
  ...change,
});
const snapshot = (change: Partial<SchedulerSnapshot>): SchedulerSnapshot => ({
  queue: [],
  workers: [{ workerId: 'w', lane: 'cpu', free: 1 }],
  projects: new Map(),
  nowMs: NOW,
  ...change,
});
const placedIds = (s: SchedulerSnapshot): string[] => scheduleCycle(s).placements.map((p) => p.activity.workflowId);
const reasons = (s: SchedulerSnapshot): string[] =>
  scheduleCycle(s).waiting.map((w) => `${w.activity.workflowId}: ${w.reason}`);

describe('a cycle', () => {
  it('places the higher priority first, then the earlier submission', () => {
    const queue = [
      queued('late', { submittedAtMs: 2 }),
      queued('early', { submittedAtMs: 1 }),
      queued('urgent', { priority: 3, submittedAtMs: 9 }),
    ];
    const workers = [{ workerId: 'w', lane: 'cpu' as const, free: 2 }];
    expect(placedIds(snapshot({ queue, workers }))).toEqual(['urgent', 'early']);
    expect(reasons(snapshot({ queue, workers }))).toEqual(['late: NoFreeSlot']);
  });

  it('spreads over the workers: each slot is taken from one with the most free slots', () => {
    const queue = Array.from({ length: 6 }, (_, i) => queued(`wf-${i}`));
    const free = new Map([
      ['a', 1],
      ['b', 3],
      ['c', 2],
    ]);
    const workers = [...free].map(([workerId, slots]) => ({ workerId, lane: 'cpu' as const, free: slots }));
    for (const { workerId } of scheduleCycle(snapshot({ queue, workers })).placements) {
      expect(free.get(workerId)).toBe(Math.max(...free.values()));
      free.set(workerId, (free.get(workerId) ?? 0) - 1);
    }
    expect([...free.values()]).toEqual([0, 0, 0]);
  });

  it('a worker with more attempts than slots takes none', () => {
    expect(reasons(snapshot({ queue: [queued('wf')], workers: [{ workerId: 'w', lane: 'cpu', free: -2 }] }))).toEqual([
      'wf: NoFreeSlot',
    ]);
  });

  it('waits for the end of a back-off and says when the earliest is', () => {
    const queue = [queued('later', { notBeforeMs: 3_000 }), queued('sooner', { notBeforeMs: NOW + 1 })];
    expect(scheduleCycle(snapshot({ queue }))).toMatchObject({ placements: [], nextDueMs: NOW + 1 });
    expect(placedIds(snapshot({ queue: [queued('due', { notBeforeMs: NOW })] }))).toEqual(['due']);
  });

  it('a lane without workers is not a lane without slots', () => {
    const queue = [queued('cpu'), queued('gpu', { lane: 'gpu' })];
    const workers = [{ workerId: 'w', lane: 'cpu' as const, free: 0 }];
    expect(reasons(snapshot({ queue, workers }))).toEqual(['cpu: NoFreeSlot', 'gpu: NoWorkers']);
  });

  it('a project at its cap starts no new workflow but goes on with those that run', () => {
    const queue = [queued('new'), queued('runs', { workflowRuns: true })];
    const workers = [{ workerId: 'w', lane: 'cpu' as const, free: 9 }];
    const full = snapshot({ queue, workers, projects: new Map([['p', { running: 2, cap: 2 }]]) });
    expect(placedIds(full)).toEqual(['runs']);
    expect(reasons(full)).toEqual(['new: ProjectCapReached']);
  });

  it('a cap counts what the same cycle starts, and a workflow once', () => {
    const queue = [queued('a'), queued('a', { activityId: 'b' }), queued('b'), queued('c')];
    const workers = [{ workerId: 'w', lane: 'cpu' as const, free: 9 }];
    const projects = new Map([['p', { running: 0, cap: 2 }]]);
    expect(placedIds(snapshot({ queue, workers, projects }))).toEqual(['a', 'a', 'b']);
  });

  it('a project at its cap does not hold up the others', () => {
    const queue = [queued('full', { priority: 3 }), queued('other', { project: 'q', priority: 0 })];
    const projects = new Map([['p', { running: 1, cap: 1 }]]);
    expect(placedIds(snapshot({ queue, projects }))).toEqual(['other']);
  });
});

const lane = fc.constantFrom('cpu' as const, 'gpu' as const);
const project = fc.constantFrom('p', 'q', 'r');
/** Of one workflow, every activity has the project, the priority and the state of the workflow. */
const anyWorkflow = fc.record({
  workflowId: fc.nat(30).map((n) => `wf-${n}`),
  project,
  priority: fc.nat(3),
  submittedAtMs: fc.nat(5),
  workflowRuns: fc.boolean(),
});
const anyActivities = fc.uniqueArray(
  fc.record({
    activityId: fc.constantFrom('a', 'b'),
    epoch: fc.constant(1),
    lane,
    notBeforeMs: fc.constantFrom(0, NOW, NOW + 5),
  }),
  { minLength: 1, maxLength: 2, selector: (a) => a.activityId },
);
const anySnapshot: fc.Arbitrary<SchedulerSnapshot> = fc.record({
  queue: fc
    .uniqueArray(fc.tuple(anyWorkflow, anyActivities), { maxLength: 25, selector: ([w]) => w.workflowId })
    .map((workflows) => workflows.flatMap(([w, activities]) => activities.map((activity) => ({ ...w, ...activity })))),
  workers: fc.uniqueArray(
    fc.record({ workerId: fc.nat(6).map((n) => `w-${n}`), lane, free: fc.integer({ min: -1, max: 4 }) }),
    { maxLength: 6, selector: (w) => w.workerId },
  ),
  projects: fc.array(fc.tuple(project, fc.record({ running: fc.nat(3), cap: fc.nat(4) }))).map((rows) => new Map(rows)),
  nowMs: fc.constant(NOW),
});

describe('any cycle', () => {
  it('places every queued activity or gives its reason to wait, never both', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const { placements, waiting } = scheduleCycle(s);
        const answered = [...placements, ...waiting].map(({ activity }) => activity);
        expect(answered).toHaveLength(s.queue.length);
        expect(new Set(answered)).toEqual(new Set(s.queue));
        for (const { reason } of waiting) expect(WAIT_REASONS).toContain(reason);
      }),
    );
  });

  it('never gives a worker more than its free slots, nor work of another lane', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const taken = new Map<string, number>();
        for (const { activity, workerId } of scheduleCycle(s).placements) {
          expect(s.workers.find((w) => w.workerId === workerId)?.lane).toBe(activity.lane);
          taken.set(workerId, (taken.get(workerId) ?? 0) + 1);
        }
        for (const worker of s.workers)
          expect(taken.get(worker.workerId) ?? 0).toBeLessThanOrEqual(Math.max(0, worker.free));
      }),
    );
  });

  it('never starts a new workflow above its project’s cap', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const running = new Set<string>();
        const started = new Map<string, Set<string>>();
        const { placements } = scheduleCycle(s);
        for (const { activity } of placements) if (activity.workflowRuns) running.add(activity.workflowId);
        for (const { activity } of placements) {
          if (activity.workflowRuns || running.has(activity.workflowId)) continue;
          started.set(activity.project, (started.get(activity.project) ?? new Set()).add(activity.workflowId));
        }
        const above = [...started].filter(([name, workflows]) => {
          const load = s.projects.get(name);
          return load !== undefined && load.running + workflows.size > load.cap;
        });
        expect(above).toEqual([]);
      }),
    );
  });

  it('is the same for the same snapshot in any order', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const shuffled = { ...s, queue: s.queue.toReversed(), workers: s.workers.toReversed() };
        expect(scheduleCycle(shuffled)).toEqual(scheduleCycle(s));
      }),
    );
  });

  it('leaves nobody waiting for a slot behind whom somebody of the same lane was placed', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const { placements, waiting } = scheduleCycle(s);
        for (const { activity: waits } of waiting.filter((w) => w.reason === 'NoFreeSlot')) {
          const sameLane = placements.filter(({ activity }) => activity.lane === waits.lane);
          expect(sameLane.filter(({ activity }) => byPriorityThenSubmission(activity, waits) >= 0)).toEqual([]);
        }
      }),
    );
  });

  it('leaves no slot empty while somebody waits for one', () => {
    fc.assert(
      fc.property(anySnapshot, (s) => {
        const { placements, waiting } = scheduleCycle(s);
        for (const each of ['cpu', 'gpu'] as const) {
          if (!waiting.some((w) => w.reason === 'NoFreeSlot' && w.activity.lane === each)) continue;
          const slots = s.workers.filter((w) => w.lane === each).reduce((sum, w) => sum + Math.max(0, w.free), 0);
          expect(placements.filter((p) => p.activity.lane === each)).toHaveLength(slots);
        }
      }),
    );
  });
});
