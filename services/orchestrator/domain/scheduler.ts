import type { Lane } from './activity-ledger.ts';

/** An activity that wants a slot. */
export interface QueuedActivity {
  readonly workflowId: string;
  readonly activityId: string;
  readonly epoch: number;
  readonly lane: Lane;
  readonly project: string;
  /** 0 low .. 3 urgent. */
  readonly priority: number;
  /** When the job was submitted, epoch ms: the order within a priority. */
  readonly submittedAtMs: number;
  /** Back-off: not before this time. */
  readonly notBeforeMs: number;
  /** True when an earlier activity of the workflow was placed: it counts against the project's cap already. */
  readonly workflowRuns: boolean;
}

export interface WorkerCapacity {
  readonly workerId: string;
  readonly lane: Lane;
  /** Slots nobody is placed into. */
  readonly free: number;
}

export interface ProjectLoad {
  readonly running: number;
  /** Running workflows at most. */
  readonly cap: number;
}

export interface SchedulerSnapshot {
  readonly queue: readonly QueuedActivity[];
  readonly workers: readonly WorkerCapacity[];
  readonly projects: ReadonlyMap<string, ProjectLoad>;
  readonly nowMs: number;
}

/** Reason codes a dashboard can show. */
export const WAIT_REASONS = ['BackingOff', 'NoWorkers', 'NoFreeSlot', 'ProjectCapReached'] as const;
export type WaitReason = (typeof WAIT_REASONS)[number];

export interface SchedulerDecisions {
  readonly placements: readonly { readonly activity: QueuedActivity; readonly workerId: string }[];
  readonly waiting: readonly { readonly activity: QueuedActivity; readonly reason: WaitReason }[];
  /** Earliest end of a back-off among the waiting, or null. */
  readonly nextDueMs: number | null;
}

/** Total order of the queue: priority, then submission, then ids so that equal jobs have one order. A later policy replaces this function only. */
export function byPriorityThenSubmission(a: QueuedActivity, b: QueuedActivity): number {
  return (
    b.priority - a.priority ||
    a.submittedAtMs - b.submittedAtMs ||
    compareText(a.workflowId, b.workflowId) ||
    compareText(a.activityId, b.activityId)
  );
}

/**
 * One cycle: snapshot -> decisions with reason codes. Places only into free slots, never above a project's cap on running
 * workflows, spreads over workers (most free slots first). O(n log n) in the queue.
 */
export function scheduleCycle(snapshot: SchedulerSnapshot, order = byPriorityThenSubmission): SchedulerDecisions {
  const placements: { activity: QueuedActivity; workerId: string }[] = [];
  const waiting: { activity: QueuedActivity; reason: WaitReason }[] = [];
  const slots = { cpu: new LaneSlots(snapshot.workers, 'cpu'), gpu: new LaneSlots(snapshot.workers, 'gpu') };
  const startedHere = new Map<string, number>();
  const newlyRunning = new Set<string>();
  let nextDueMs: number | null = null;

  for (const activity of snapshot.queue.toSorted(order)) {
    if (activity.notBeforeMs > snapshot.nowMs) {
      nextDueMs = Math.min(nextDueMs ?? activity.notBeforeMs, activity.notBeforeMs);
      waiting.push({ activity, reason: 'BackingOff' });
      continue;
    }
    const lane = slots[activity.lane];
    if (lane.workers === 0) {
      waiting.push({ activity, reason: 'NoWorkers' });
      continue;
    }
    const counts = activity.workflowRuns || newlyRunning.has(activity.workflowId);
    if (!counts && !belowCap(snapshot, activity.project, startedHere)) {
      waiting.push({ activity, reason: 'ProjectCapReached' });
      continue;
    }
    const workerId = lane.take();
    if (workerId === null) {
      waiting.push({ activity, reason: 'NoFreeSlot' });
      continue;
    }
    if (!counts) {
      newlyRunning.add(activity.workflowId);
      startedHere.set(activity.project, (startedHere.get(activity.project) ?? 0) + 1);
    }
    placements.push({ activity, workerId });
  }
  return { placements, waiting, nextDueMs };
}

function belowCap(snapshot: SchedulerSnapshot, project: string, startedHere: ReadonlyMap<string, number>): boolean {
  const load = snapshot.projects.get(project);
  return load === undefined || load.running + (startedHere.get(project) ?? 0) < load.cap;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Free slots of one lane; `take` uses the worker with the most free slots (ties: by id), with buckets instead of sorting at each take. */
class LaneSlots {
  readonly workers: number;
  readonly #byFree = new Map<number, string[]>();
  #most = 0;

  constructor(all: readonly WorkerCapacity[], lane: Lane) {
    const mine = all.filter((w) => w.lane === lane).sort((a, b) => compareText(b.workerId, a.workerId));
    this.workers = mine.length;
    for (const worker of mine) {
      const free = Math.max(0, worker.free);
      this.#bucket(free).push(worker.workerId);
      this.#most = Math.max(this.#most, free);
    }
  }

  take(): string | null {
    while (this.#most > 0 && this.#bucket(this.#most).length === 0) this.#most--;
    if (this.#most === 0) return null;
    const workerId = this.#bucket(this.#most).pop() ?? null;
    if (workerId !== null) this.#bucket(this.#most - 1).push(workerId);
    return workerId;
  }

  #bucket(free: number): string[] {
    let bucket = this.#byFree.get(free);
    if (bucket === undefined) {
      bucket = [];
      this.#byFree.set(free, bucket);
    }
    return bucket;
  }
}
