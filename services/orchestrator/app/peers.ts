import { WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import type { Decider, DecisionContext } from './decider.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Heartbeats } from './heartbeats.ts';
import type { EnginePorts, EngineSettings } from './ports.ts';
import { queuedFrom, type ShardMemory } from './shard.ts';

/** Without a notification the other orchestrators' rows are looked at this often. */
const LOOK_EVERY_MS = 500;

/**
 * Several orchestrators on one database. Each decides for its own workflows; one of them places for all. They meet in the rows of
 * `activities`: a shard writes `queued`, the dispatcher writes `placed` with the worker, the shard sees it and publishes the command.
 * One orchestrator alone never looks.
 */
export class Peers {
  readonly #ports: EnginePorts;
  readonly #memory: ShardMemory;
  readonly #decider: Decider;
  readonly #heartbeats: Heartbeats;
  readonly #settings: EngineSettings;
  #notified = false;
  #lookedAtMs = 0;

  constructor(
    ports: EnginePorts,
    memory: ShardMemory,
    decider: Decider,
    heartbeats: Heartbeats,
    settings: EngineSettings,
  ) {
    this.#ports = ports;
    this.#memory = memory;
    this.#decider = decider;
    this.#heartbeats = heartbeats;
    this.#settings = settings;
  }

  /** Another orchestrator committed something that may concern us. */
  notify(): void {
    this.#notified = true;
  }

  /** `committed`: the commit of the batch before this one, which may still be under way. */
  async run(context: DecisionContext, committed: Promise<unknown>): Promise<void> {
    const owned = this.#memory.partitions;
    if (owned.length === WORKFLOW_PARTITIONS) return;
    if (!this.#notified && context.nowMs - this.#lookedAtMs < LOOK_EVERY_MS) return;
    this.#notified = false;
    this.#lookedAtMs = context.nowMs;
    if (context.dispatcher !== null) {
      // Rows read before it is visible would make the dispatcher forget what it placed for others, and give their slots away again.
      await committed.catch(() => undefined);
      return this.#readRemoteWork(context.dispatcher, owned);
    }
    if (this.#memory.unplaced.size > 0) await this.#takePlacements(context);
    if (this.#memory.leases.size > 0) await this.#endFormerIncarnations(context);
  }

  /** Only the dispatcher hears the workers; the others see in its table that one was started anew. */
  async #endFormerIncarnations(context: DecisionContext): Promise<void> {
    for (const { workerId, incarnation, lastSeenMs } of await this.#ports.store.workers(0))
      this.#heartbeats.endFormerIncarnation(context, workerId, incarnation, lastSeenMs);
  }

  async #readRemoteWork(dispatcher: Dispatcher, owned: readonly number[]): Promise<void> {
    const remote = Array.from({ length: WORKFLOW_PARTITIONS }, (_, p) => p).filter((p) => !owned.includes(p));
    const { workflows, activities } = await this.#ports.store.openWork(remote);
    const rows = new Map(workflows.map((row) => [row.workflowId, row]));
    const occupied = activities.flatMap(({ state, workflowId, activityId, epoch, workerId }) =>
      state !== 'queued' && workerId !== null ? [{ workflowId, activityId, epoch, workerId }] : [],
    );
    const runs = new Set(occupied.map((attempt) => attempt.workflowId));
    dispatcher.syncRemote({
      occupied,
      queue: activities.flatMap((activity) => {
        const row = rows.get(activity.workflowId);
        return activity.state === 'queued' && row?.paused === false ? [queuedFrom(row, activity)] : [];
      }),
      running: workflows.filter((row) => row.status === 'open' && (row.running || runs.has(row.workflowId))),
    });
  }

  async #takePlacements(context: DecisionContext): Promise<void> {
    const placed = await this.#ports.store.placements([...this.#memory.unplaced.values()]);
    await this.#memory.load(placed.map((placement) => placement.workflowId));
    for (const { workflowId, activityId, workerId, lanePartition } of placed) {
      const cell = this.#memory.get(workflowId);
      if (cell !== undefined)
        this.#decider.place(context, cell, activityId, workerId, lanePartition, this.#settings.heartbeatEveryMs);
    }
  }
}
