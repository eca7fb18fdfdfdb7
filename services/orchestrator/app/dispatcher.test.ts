import { describe, expect, it } from 'vitest';
import type { QueuedActivity } from '../domain/scheduler.ts';
import { Dispatcher, type Heartbeat } from './dispatcher.ts';

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
const announces = (workerId: string, change: Partial<Heartbeat> = {}): Heartbeat => ({
  workerId,
  incarnation: 'i1',
  lane: 'cpu',
  slots: 1,
  running: [],
  partitions: [0, 1],
  ...change,
});
const running = (workflowId: string, epoch = 1) => ({ workflowId, activityId: 'a', epoch });

/** A dispatcher that knows one worker with one slot, which `first` sits in. */
function withOneTaken(): Dispatcher {
  const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
  dispatcher.observe(announces('w'), 0);
  dispatcher.enqueue(queued('first'));
  expect(placedBy(dispatcher, 0)).toEqual(['first']);
  dispatcher.enqueue(queued('second'));
  return dispatcher;
}
const placedBy = (dispatcher: Dispatcher, nowMs: number): string[] =>
  dispatcher.cycle(nowMs).placements.map((p) => p.activity.workflowId);
const reasons = (dispatcher: Dispatcher, nowMs: number): string[] =>
  dispatcher.cycle(nowMs).waiting.map((w) => w.reason);

describe('a slot', () => {
  it('is free again when its worker reported the end, once', () => {
    const dispatcher = withOneTaken();
    expect(reasons(dispatcher, 1)).toEqual(['NoFreeSlot']);
    dispatcher.release('first', 'a', 1);
    dispatcher.release('first', 'a', 1);
    dispatcher.enqueue(queued('third', { submittedAtMs: 1 }));
    expect(placedBy(dispatcher, 2)).toEqual(['second']);
    expect(reasons(dispatcher, 3)).toEqual(['NoFreeSlot']);
  });

  it('of an attempt that we ended stays taken until its worker shows that it stopped', () => {
    const dispatcher = withOneTaken();
    dispatcher.drain({ epoch: 1 }, 'first', 'a', 1);
    dispatcher.observe(announces('w', { running: [running('first')] }), 2);
    expect(reasons(dispatcher, 3)).toEqual(['NoFreeSlot']);
    dispatcher.observe(announces('w'), 4);
    expect(placedBy(dispatcher, 5)).toEqual(['second']);
  });

  it('of an attempt that nobody ended is not free because an announcement does not name it yet', () => {
    const dispatcher = withOneTaken();
    dispatcher.observe(announces('w'), 1);
    expect(reasons(dispatcher, 2)).toEqual(['NoFreeSlot']);
  });

  it('is not freed by the end of another epoch', () => {
    const dispatcher = withOneTaken();
    dispatcher.release('first', 'a', 2);
    expect(reasons(dispatcher, 1)).toEqual(['NoFreeSlot']);
  });

  it('counts once for an attempt that is adopted again, and moves with it to another worker', () => {
    const dispatcher = withOneTaken();
    dispatcher.occupy('first', 'a', 1, 'w');
    dispatcher.observe(announces('other'), 1);
    dispatcher.occupy('first', 'a', 1, 'other');
    expect(dispatcher.cycle(2).placements).toMatchObject([{ workerId: 'w' }]);
  });

  it('of a worker that died is free when the worker comes back and its attempts were ended', () => {
    const dispatcher = withOneTaken();
    expect(reasons(dispatcher, 2_000)).toEqual(['NoWorkers']);
    dispatcher.drain({ epoch: 1 }, 'first', 'a', 2_001);
    dispatcher.observe(announces('w', { incarnation: 'i2' }), 2_002);
    expect(placedBy(dispatcher, 2_003)).toEqual(['second']);
  });
});

describe('a worker', () => {
  it('that announced nothing for its timeout gets no work', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.observe(announces('w'), 0);
    dispatcher.enqueue(queued('wf'));
    expect(reasons(dispatcher, 1_000)).toEqual(['NoWorkers']);
  });

  it('that consumes no partition yet gets no work', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.observe(announces('w', { partitions: [] }), 0);
    dispatcher.enqueue(queued('wf'));
    expect(reasons(dispatcher, 1)).toEqual(['NoWorkers']);
    expect(dispatcher.lanePartition('w', 0)).toBeNull();
  });

  it('that is started anew is noticed, one that is new or goes on is not', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    expect(dispatcher.observe(announces('w'), 0)).toBe(false);
    expect(dispatcher.observe(announces('w'), 1)).toBe(false);
    expect(dispatcher.observe(announces('w', { incarnation: 'i2' }), 2)).toBe(true);
  });

  it('is known from before a restart until its next announcement is due', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.recall([{ workerId: 'w', incarnation: 'i', lane: 'cpu', slots: 1, partitions: [3], lastSeenMs: 500 }]);
    dispatcher.enqueue(queued('wf'));
    expect(dispatcher.lanePartition('w', 7)).toBe(3);
    expect(placedBy(dispatcher, 1_499)).toEqual(['wf']);
  });
});

describe('a project’s cap', () => {
  // Found by the simulation: a search in a project with one place waited for its own trials for ever.
  it('counts a child with its parent: it is placed although the cap is reached, and takes no place of its own', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.setCaps(new Map([['p', 2]]));
    dispatcher.observe(announces('w', { slots: 9 }), 0);
    dispatcher.enqueue(queued('search'));
    expect(placedBy(dispatcher, 0)).toEqual(['search']);
    for (const trial of ['search~trial-0', 'search~trial-1']) dispatcher.enqueue(queued(trial, { workflowRuns: true }));
    dispatcher.enqueue(queued('x-other'));
    dispatcher.enqueue(queued('x-third'));
    expect(placedBy(dispatcher, 0)).toEqual(['search~trial-0', 'search~trial-1', 'x-other']);
    expect(reasons(dispatcher, 0)).toEqual(['ProjectCapReached']);
  });

  it('counts workflows from their first placement to their end', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.setCaps(new Map([['p', 1]]));
    dispatcher.observe(announces('w', { slots: 9 }), 0);
    dispatcher.enqueue(queued('first'));
    dispatcher.enqueue(queued('second'));
    expect(placedBy(dispatcher, 1)).toEqual(['first']);
    dispatcher.release('first', 'a', 1);
    expect(reasons(dispatcher, 2)).toEqual(['ProjectCapReached']);
    dispatcher.workflowEnded('first', 'p');
    expect(placedBy(dispatcher, 3)).toEqual(['second']);
  });
});

describe('the work of other orchestrators', () => {
  it('is placed with ours, and what the database no longer shows is forgotten', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.observe(announces('w'), 0);
    dispatcher.syncRemote({
      queue: [queued('remote')],
      occupied: [{ ...running('busy'), workerId: 'w' }],
      running: [{ workflowId: 'busy', project: 'p' }],
    });
    expect(reasons(dispatcher, 1)).toEqual(['NoFreeSlot']);
    dispatcher.syncRemote({ queue: [queued('remote')], occupied: [], running: [] });
    expect(placedBy(dispatcher, 2)).toEqual(['remote']);
    dispatcher.syncRemote({ queue: [], occupied: [], running: [] });
    dispatcher.enqueue(queued('ours'));
    expect(placedBy(dispatcher, 3)).toEqual(['ours']);
  });
});

// Found by the simulation: a late copy of an announcement ended the attempts of the worker's next life and gave their slots away.
describe('an announcement of another incarnation', () => {
  const known = (): Dispatcher => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    dispatcher.observe(announces('w', { incarnation: 'i2' }), 500);
    return dispatcher;
  };

  it('is of a former life when it was made before the newest of the present one, however late that was read', () => {
    const late = new Dispatcher({ workerTimeoutMs: 1_000 });
    late.observe(announces('w', { incarnation: 'i2' }), 500, 100);
    expect(late.isOfFormerLife(announces('w', { incarnation: 'i3' }), 200, 510)).toBe(false);
    expect(late.isOfFormerLife(announces('w'), 99, 510)).toBe(true);
    expect(known().isOfFormerLife(announces('w'), 499, 600)).toBe(true);
    expect(known().isOfFormerLife(announces('w'), 500, 600)).toBe(false);
    expect(known().isOfFormerLife(announces('w', { incarnation: 'i2' }), 499, 600)).toBe(false);
    expect(known().isOfFormerLife(announces('other'), 0, 600)).toBe(false);
  });

  it('is believed once the present one has been silent for as long as a dead worker', () => {
    expect(known().isOfFormerLife(announces('w'), 0, 1_499)).toBe(true);
    expect(known().isOfFormerLife(announces('w'), 0, 1_500)).toBe(false);
  });

  it('is compared with what the database remembers after a restart of the dispatcher', () => {
    const dispatcher = new Dispatcher({ workerTimeoutMs: 1_000 });
    const worker = { workerId: 'w', incarnation: 'i2', lane: 'cpu', slots: 1, partitions: [0], lastSeenMs: 500 };
    dispatcher.recall([worker]);
    expect(dispatcher.isOfFormerLife(announces('w'), 400, 600)).toBe(true);
  });
});
