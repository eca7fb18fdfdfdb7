import type { QueuedActivity, WaitReason } from '../domain/scheduler.ts';
import type { Decider, DecisionContext } from './decider.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { EnginePorts, EngineSettings } from './ports.ts';
import type { ShardMemory } from './shard.ts';

/** Project caps are read again this often; a changed cap takes effect within it. */
const CAPS_EVERY_MS = 1_000;

/** Reasons for waiting are written for people this often at most. */
const REASONS_EVERY_MS = 1_000;

/** Workers that fell silent are looked for this often. */
const FORGET_EVERY_MS = 10_000;

/** Places queued activities into free slots, through the dispatcher when this process holds that role. */
export class Dispatching {
  readonly #ports: EnginePorts;
  readonly #memory: ShardMemory;
  readonly #decider: Decider;
  readonly #settings: EngineSettings;
  #capsAtMs = 0;
  #reasonsAtMs = 0;
  #forgotAtMs = 0;
  #shownReasons = new Map<string, WaitReason>();
  #nextDueMs: number | null = null;
  #spread = 0;

  constructor(ports: EnginePorts, memory: ShardMemory, decider: Decider, settings: EngineSettings) {
    this.#ports = ports;
    this.#memory = memory;
    this.#decider = decider;
    this.#settings = settings;
  }

  /** End of the earliest back-off, or null. */
  get nextDueMs(): number | null {
    return this.#nextDueMs;
  }

  /** Tells a new dispatcher which slots and project places are taken already. */
  adopt(dispatcher: Dispatcher): void {
    this.#capsAtMs = 0;
    for (const cell of this.#memory.cells())
      if (cell.running && cell.status === 'open' && cell.header !== null)
        dispatcher.workflowRuns(cell.workflowId, cell.header.project);
    for (const lease of this.#memory.leases.values())
      dispatcher.occupy(lease.workflowId, lease.activityId, lease.epoch, lease.workerId);
    for (const activity of this.#memory.unplaced.values()) dispatcher.enqueue(activity);
  }

  async run(context: DecisionContext): Promise<void> {
    const { dispatcher, nowMs } = context;
    if (dispatcher === null) {
      this.#nextDueMs = null;
      return;
    }
    if (nowMs - this.#forgotAtMs >= FORGET_EVERY_MS) {
      this.#forgotAtMs = nowMs;
      // Twice the time after which they get no work: a worker that only paused keeps its row.
      await this.#ports.store.forgetWorkers(nowMs - 2 * this.#settings.workerTimeoutMs);
    }
    if (dispatcher.queued === 0) {
      this.#nextDueMs = null;
      return;
    }
    if (nowMs - this.#capsAtMs >= CAPS_EVERY_MS) {
      dispatcher.setCaps(await this.#ports.store.projectCaps());
      this.#capsAtMs = nowMs;
    }
    const { placements, waiting, nextDueMs } = dispatcher.cycle(nowMs);
    this.#nextDueMs = nextDueMs;
    const ours = placements.map(({ activity }) => activity.workflowId).filter((id) => this.#memory.owns(id));
    await this.#memory.load(ours);
    for (const { activity, workerId } of placements) this.#place(context, dispatcher, activity, workerId);
    await this.#showReasons(waiting, nowMs);
  }

  #place(context: DecisionContext, dispatcher: Dispatcher, activity: QueuedActivity, workerId: string): void {
    const lanePartition = dispatcher.lanePartition(workerId, this.#spread++);
    if (lanePartition !== null && !this.#memory.owns(activity.workflowId)) {
      const { workflowId, activityId, epoch } = activity;
      context.batch.remotePlacements.push({
        workflowId,
        activityId,
        epoch,
        workerId,
        lanePartition,
        atMs: context.nowMs,
      });
      context.batch.notifyPeers = true;
      return;
    }
    const cell = this.#memory.get(activity.workflowId);
    const placed =
      cell !== undefined &&
      lanePartition !== null &&
      this.#decider.place(context, cell, activity.activityId, workerId, lanePartition, this.#settings.heartbeatEveryMs);
    if (!placed) dispatcher.release(activity.workflowId, activity.activityId, activity.epoch);
  }

  async #showReasons(
    waiting: readonly { activity: QueuedActivity; reason: WaitReason }[],
    nowMs: number,
  ): Promise<void> {
    if (nowMs - this.#reasonsAtMs < REASONS_EVERY_MS) return;
    this.#reasonsAtMs = nowMs;
    const shown = new Map<string, WaitReason>();
    const changed: { workflowId: string; activityId: string; reason: string }[] = [];
    for (const { activity, reason } of waiting) {
      const key = `${activity.workflowId}\u0000${activity.activityId}\u0000${activity.epoch}`;
      shown.set(key, reason);
      if (this.#shownReasons.get(key) !== reason)
        changed.push({ workflowId: activity.workflowId, activityId: activity.activityId, reason });
    }
    this.#shownReasons = shown;
    if (changed.length > 0) await this.#ports.store.saveWaitReasons(changed);
  }
}
