import type { ActivityEntry, Lane } from '../domain/activity-ledger.ts';
import {
  type QueuedActivity,
  scheduleCycle,
  type SchedulerDecisions,
  type WorkerCapacity,
} from '../domain/scheduler.ts';
import type { KnownWorker } from './store.ts';

interface WorkerView {
  readonly workerId: string;
  incarnation: string;
  lane: Lane;
  slots: number;
  partitions: readonly number[];
  lastSeenMs: number;
  /** When its newest announcement was made, by its own clock. */
  announcedAtMs: number;
}

/** A slot that is taken: by an attempt that was placed, or by one that was ended but may still run until its worker says otherwise. */
interface Occupation {
  readonly workerId: string;
  drainingSinceMs: number | null;
  /** Of a workflow that another orchestrator owns: known from the database. */
  readonly remote: boolean;
}

/** What the other orchestrators' workflows wait for and occupy, as the database says. */
export interface RemoteWork {
  readonly queue: readonly QueuedActivity[];
  readonly occupied: readonly {
    readonly workflowId: string;
    readonly activityId: string;
    readonly epoch: number;
    readonly workerId: string;
  }[];
  readonly running: readonly { readonly workflowId: string; readonly project: string }[];
}

export interface Heartbeat {
  readonly workerId: string;
  readonly incarnation: string;
  readonly lane: Lane;
  readonly slots: number;
  readonly running: readonly { readonly workflowId: string; readonly activityId: string; readonly epoch: number }[];
  readonly partitions: readonly number[];
}

const activityKey = (workflowId: string, activityId: string): string => `${workflowId}\u0000${activityId}`;
const attemptKey = (workflowId: string, activityId: string, epoch: number): string =>
  `${workflowId}\u0000${activityId}\u0000${epoch}`;

/**
 * The queue of both lanes, the workers and who sits in which slot, in memory of the one orchestrator that holds the dispatcher role.
 * Decisions are made by the pure `scheduleCycle`; this class only keeps its snapshot.
 */
export class Dispatcher {
  readonly #queue = new Map<string, QueuedActivity>();
  readonly #workers = new Map<string, WorkerView>();
  readonly #occupied = new Map<string, Occupation>();
  readonly #perWorker = new Map<string, number>();
  readonly #runningByProject = new Map<string, Set<string>>();
  readonly #remoteQueue = new Set<string>();
  #remoteRunning = new Map<string, Set<string>>();
  readonly #workerTimeoutMs: number;
  #caps: ReadonlyMap<string, number> = new Map();

  constructor(options: { workerTimeoutMs: number }) {
    this.#workerTimeoutMs = options.workerTimeoutMs;
  }

  get queued(): number {
    return this.#queue.size;
  }

  setCaps(caps: ReadonlyMap<string, number>): void {
    this.#caps = caps;
  }

  enqueue(activity: QueuedActivity): void {
    this.#queue.set(activityKey(activity.workflowId, activity.activityId), activity);
  }

  dequeue(workflowId: string, activityId: string): void {
    this.#queue.delete(activityKey(workflowId, activityId));
  }

  workflowRuns(workflowId: string, project: string): void {
    addTo(this.#runningByProject, project, workflowId);
  }

  workflowEnded(workflowId: string, project: string): void {
    this.#runningByProject.get(project)?.delete(workflowId);
  }

  /** An attempt sits in a slot of this worker: placed by us, adopted after a restart, or reported by another worker than planned. */
  occupy(workflowId: string, activityId: string, epoch: number, workerId: string, remote = false): void {
    const key = attemptKey(workflowId, activityId, epoch);
    const before = this.#occupied.get(key);
    if (before !== undefined) this.#count(before.workerId, -1);
    this.#occupied.set(key, { workerId, drainingSinceMs: null, remote });
    this.#count(workerId, 1);
  }

  /** Replaces what is known about the other orchestrators' work. */
  syncRemote(work: RemoteWork): void {
    for (const key of this.#remoteQueue) this.#queue.delete(key);
    this.#remoteQueue.clear();
    for (const activity of work.queue) {
      const key = activityKey(activity.workflowId, activity.activityId);
      this.#remoteQueue.add(key);
      this.#queue.set(key, activity);
    }
    const present = new Set(work.occupied.map((a) => attemptKey(a.workflowId, a.activityId, a.epoch)));
    for (const [key, occupation] of this.#occupied) {
      if (!occupation.remote || present.has(key)) continue;
      this.#occupied.delete(key);
      this.#count(occupation.workerId, -1);
    }
    for (const { workflowId, activityId, epoch, workerId } of work.occupied)
      this.occupy(workflowId, activityId, epoch, workerId, true);
    this.#remoteRunning = new Map();
    for (const { workflowId, project } of work.running) addTo(this.#remoteRunning, project, workflowId);
  }

  /** The worker itself said that the attempt is over: the slot is free. */
  release(workflowId: string, activityId: string, epoch: number): void {
    const key = attemptKey(workflowId, activityId, epoch);
    const occupation = this.#occupied.get(key);
    if (occupation === undefined) return;
    this.#occupied.delete(key);
    this.#count(occupation.workerId, -1);
  }

  /** We ended the attempt; its worker keeps the slot until its next announcement shows that it stopped. */
  drain(entry: Pick<ActivityEntry, 'epoch'>, workflowId: string, activityId: string, nowMs: number): void {
    const occupation = this.#occupied.get(attemptKey(workflowId, activityId, entry.epoch));
    if (occupation === undefined) return;
    // A worker that is not known (any more) will not announce that it stopped, and has no slots to protect.
    if (this.#workers.has(occupation.workerId)) occupation.drainingSinceMs ??= nowMs;
    else this.release(workflowId, activityId, entry.epoch);
  }

  /**
   * True for an announcement that a former incarnation made before the newest one of the present: it was delivered late or again.
   * Once the present one has been silent for as long as a dead worker, whoever speaks is believed: the worker's clock may have been set back.
   */
  isOfFormerLife(
    { workerId, incarnation }: Pick<Heartbeat, 'workerId' | 'incarnation'>,
    madeAtMs: number,
    nowMs: number,
  ): boolean {
    const known = this.#workers.get(workerId);
    if (known === undefined || known.incarnation === incarnation) return false;
    return madeAtMs < known.announcedAtMs && nowMs - known.lastSeenMs < this.#workerTimeoutMs;
  }

  /** Takes a worker's announcement. True when the worker was started anew: what its former incarnation ran is lost. */
  observe(heartbeat: Heartbeat, nowMs: number, madeAtMs = nowMs): boolean {
    const before = this.#workers.get(heartbeat.workerId);
    const { workerId, incarnation, lane, slots, partitions } = heartbeat;
    this.#workers.set(workerId, {
      workerId,
      incarnation,
      lane,
      slots,
      partitions,
      lastSeenMs: nowMs,
      announcedAtMs: madeAtMs,
    });
    const running = new Set(heartbeat.running.map((r) => attemptKey(r.workflowId, r.activityId, r.epoch)));
    for (const [key, occupation] of this.#occupied) {
      if (occupation.workerId !== workerId || occupation.drainingSinceMs === null || running.has(key)) continue;
      this.#occupied.delete(key);
      this.#count(workerId, -1);
    }
    return before !== undefined && before.incarnation !== incarnation;
  }

  /** Workers known from before a restart keep their slots until their next announcement is due. */
  recall(workers: readonly KnownWorker[]): void {
    for (const worker of workers)
      this.#workers.set(worker.workerId, {
        ...worker,
        lane: worker.lane as Lane,
        partitions: worker.partitions,
        announcedAtMs: worker.lastSeenMs,
      });
  }

  /** A lane partition that the worker consumes; null when it consumes none yet. */
  lanePartition(workerId: string, spread: number): number | null {
    const partitions = this.#workers.get(workerId)?.partitions ?? [];
    return partitions[spread % Math.max(1, partitions.length)] ?? null;
  }

  cycle(nowMs: number): SchedulerDecisions {
    this.#forgetDeadWorkers(nowMs);
    if (this.#queue.size === 0) return { placements: [], waiting: [], nextDueMs: null };
    const workers: WorkerCapacity[] = [];
    for (const worker of this.#workers.values()) {
      if (worker.partitions.length === 0) continue;
      const free = worker.slots - (this.#perWorker.get(worker.workerId) ?? 0);
      workers.push({ workerId: worker.workerId, lane: worker.lane, free });
    }
    const decisions = scheduleCycle({
      queue: [...this.#queue.values()],
      workers,
      projects: this.#loads(),
      nowMs,
    });
    for (const { activity, workerId } of decisions.placements) {
      const remote = this.#remoteQueue.delete(activityKey(activity.workflowId, activity.activityId));
      this.dequeue(activity.workflowId, activity.activityId);
      this.occupy(activity.workflowId, activity.activityId, activity.epoch, workerId, remote);
      addTo(remote ? this.#remoteRunning : this.#runningByProject, activity.project, activity.workflowId);
    }
    return decisions;
  }

  #loads(): Map<string, { running: number; cap: number }> {
    const loads = new Map<string, { running: number; cap: number }>();
    for (const [project, cap] of this.#caps) {
      const running = (this.#runningByProject.get(project)?.size ?? 0) + (this.#remoteRunning.get(project)?.size ?? 0);
      loads.set(project, { running, cap });
    }
    return loads;
  }

  #forgetDeadWorkers(nowMs: number): void {
    for (const worker of this.#workers.values()) {
      if (nowMs - worker.lastSeenMs < this.#workerTimeoutMs) continue;
      this.#workers.delete(worker.workerId);
      for (const [key, occupation] of this.#occupied)
        if (occupation.workerId === worker.workerId && occupation.drainingSinceMs !== null) {
          this.#occupied.delete(key);
          this.#count(worker.workerId, -1);
        }
    }
  }

  #count(workerId: string, change: number): void {
    const next = (this.#perWorker.get(workerId) ?? 0) + change;
    if (next <= 0) this.#perWorker.delete(workerId);
    else this.#perWorker.set(workerId, next);
  }
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  let set = sets.get(key);
  if (set === undefined) sets.set(key, (set = new Set()));
  set.add(value);
}
