import { PartitionLostError } from '#lib/bus/port.ts';
import type { ActivityRow, Commit, WorkflowRow } from '../../services/orchestrator/app/commit.ts';
import {
  type DueTimer,
  FencedError,
  type KnownWorker,
  type OpenWork,
  type OrchestratorStore,
  type StoredWorkflow,
} from '../../services/orchestrator/app/store.ts';
import type { Fact } from '../../services/orchestrator/domain/facts.ts';
import type { WorkflowState } from '../../services/orchestrator/domain/workflow-state.ts';
import type { Fence } from './broker.ts';
import type { Faults } from './faults.ts';
import type { Life } from './life.ts';
import type { SimBus, BusWorld } from './sim-bus.ts';
import type { OutboxRow, SimDatabase, TransactionPart } from './sim-database.ts';
import { SimOutbox, type OutboxWorld, SimPositionCommitter } from './sim-outbox.ts';

export interface StoreWorld extends OutboxWorld {
  readonly bus: BusWorld;
  /** Tells the other orchestrators of a commit. */
  readonly notifyPeers: (sender: string) => void;
  readonly faults: Faults;
  /** Ends the process, now. */
  readonly crash: (life: Life) => void;
}

/** What the store needs of the engine's bus. */
export interface EngineBus {
  readonly bus: SimBus;
  readonly fence: () => Fence;
  readonly commitPositions: (positions: Commit['positions']) => Promise<void>;
}

export interface StoreOptions {
  readonly profile: 'embedded' | 'kafka';
  /** Bugs made by hand: positions are committed before the database; what is not published at once is forgotten. */
  readonly positionsFirst: boolean;
  readonly losesOutbox: boolean;
}

/**
 * The orchestrator's tables over the network. `embedded`: messages and positions are part of the transaction, as `postgres-store.ts` does it. `kafka`: the
 * transaction leaves messages in an outbox; they are published and the positions committed after it, in the background, as `KafkaBus.partsOf` does it.
 */
export class SimOrchestratorStore implements OrchestratorStore {
  readonly #world: StoreWorld;
  readonly #life: Life;
  readonly #engine: EngineBus;
  readonly #options: StoreOptions;
  readonly #outbox: SimOutbox;
  readonly #positions: SimPositionCommitter;

  constructor(world: StoreWorld, life: Life, engine: EngineBus, options: StoreOptions) {
    this.#world = world;
    this.#life = life;
    this.#engine = engine;
    this.#options = options;
    this.#outbox = new SimOutbox(world, life, engine.bus);
    this.#positions = new SimPositionCommitter(life, engine.commitPositions);
  }

  claim(shards: readonly number[]): Promise<ReadonlyMap<number, number>> {
    const { database } = this.#world;
    return this.#call(`claim ${shards.join(',')}`, () => database.claim(shards, this.#life.name));
  }

  async commit(commit: Commit): Promise<void> {
    if (this.#world.faults.strikes('crashAtCommit', 'crash at commit')) this.#world.crash(this.#life);
    try {
      if (this.#options.profile === 'embedded') await this.#commitEmbedded(commit);
      else await this.#commitWithOutbox(commit);
    } catch (error) {
      if (error instanceof PartitionLostError)
        throw new FencedError('another orchestrator owns a shard of this batch', { cause: error });
      throw error;
    }
  }

  async #commitEmbedded(commit: Commit): Promise<void> {
    const { broker } = this.#world.bus;
    const fence = this.#engine.fence();
    const messages = broker.route(commit.messages);
    await this.#transaction(commit, {
      check: () => broker.checkFence(fence, commit.positions),
      apply: () => {
        broker.storePositions(fence.groupId, commit.positions);
        broker.append(messages);
      },
    });
  }

  async #commitWithOutbox(commit: Commit): Promise<void> {
    const { database, sim } = this.#world;
    const { positionsFirst, losesOutbox } = this.#options;
    this.#world.bus.broker.route(commit.messages);
    if (positionsFirst) await this.#engine.commitPositions(commit.positions);
    let row: OutboxRow | null = null;
    await this.#transaction(commit, {
      check: () => undefined,
      apply: () => {
        row = database.appendOutbox(commit.messages, sim.nowMs);
        if (row !== null && losesOutbox) database.deleteOutbox([row]);
      },
    });
    this.#outbox.committed(row);
    if (!positionsFirst) this.#positions.add(commit.positions);
  }

  #transaction(commit: Commit, part: TransactionPart): Promise<void> {
    return this.#call(commitLabel(commit), () => {
      this.#world.database.commit(commit, part);
      if (commit.notifyPeers !== null) this.#world.notifyPeers(commit.notifyPeers);
      if (this.#world.faults.strikes('crashAtCommit', 'crash after commit took effect')) this.#world.crash(this.#life);
    });
  }

  load(workflowIds: readonly string[]): Promise<ReadonlyMap<string, StoredWorkflow>> {
    const { database } = this.#world;
    if (workflowIds.length === 0) return Promise.resolve(new Map());
    return this.#call(`load ${workflowIds.length}`, () => {
      const stored = new Map<string, StoredWorkflow>();
      for (const id of workflowIds) {
        const row = database.workflows.get(id);
        if (row !== undefined) stored.set(id, storedWorkflow(database, row));
      }
      return stored;
    });
  }

  openWork(partitions: readonly number[]): Promise<OpenWork> {
    const { database } = this.#world;
    return this.#call('open work', () => {
      const mine = [...database.workflows.values()].filter((row) => partitions.includes(row.partition));
      const open = new Set(mine.filter((row) => row.status === 'open').map((row) => row.workflowId));
      return {
        workflows: mine.filter((row) => row.status !== 'done').map((row) => ({ ...row, snapshotJson: null })),
        activities: [...database.activities.values()].filter((row) => open.has(row.workflowId) && isOpen(row)),
      };
    });
  }

  dueTimers(partitions: readonly number[], nowMs: number, limit: number): Promise<readonly DueTimer[]> {
    return this.#call('due timers', () =>
      this.#timers(partitions)
        .filter((timer) => timer.fireAtMs <= nowMs)
        .slice(0, limit)
        .map(({ workflowId, name }) => ({ workflowId, name })),
    );
  }

  nextTimerMs(partitions: readonly number[], afterMs: number): Promise<number | null> {
    return this.#call(
      'next timer',
      () => this.#timers(partitions).find((timer) => timer.fireAtMs > afterMs)?.fireAtMs ?? null,
    );
  }

  projectCaps(): Promise<ReadonlyMap<string, number>> {
    const { projects } = this.#world.database.budget;
    return this.#call('caps', () => new Map([...projects.values()].map((p) => [p.id, p.maxRunningWorkflows])));
  }

  workers(seenSinceMs: number): Promise<readonly KnownWorker[]> {
    const { workers } = this.#world.database;
    return this.#call('workers', () =>
      [...workers.values()]
        .filter((row) => row.seenAtMs >= seenSinceMs)
        .map(({ workerId, incarnation, lane, slots, partitions, seenAtMs }) => ({
          workerId,
          incarnation,
          lane,
          slots,
          partitions,
          lastSeenMs: seenAtMs,
        })),
    );
  }

  forgetWorkers(seenBeforeMs: number): Promise<void> {
    const { workers } = this.#world.database;
    return this.#call('forget workers', () => {
      for (const row of workers.values()) if (row.seenAtMs < seenBeforeMs) workers.delete(row.workerId);
    });
  }

  placements(
    attempts: readonly { workflowId: string; activityId: string; epoch: number }[],
  ): Promise<readonly { workflowId: string; activityId: string; workerId: string; lanePartition: number }[]> {
    const { database } = this.#world;
    return this.#call('placements', () =>
      attempts.flatMap(({ workflowId, activityId, epoch }) => {
        const row = database.activity(workflowId, activityId);
        if (row?.epoch !== epoch || row.state !== 'placed') return [];
        const { workerId, lanePartition } = row;
        return workerId === null || lanePartition === null ? [] : [{ workflowId, activityId, workerId, lanePartition }];
      }),
    );
  }

  /** For people only. */
  saveWaitReasons(): Promise<void> {
    return this.#call('wait reasons', () => undefined);
  }

  #timers(partitions: readonly number[]) {
    const timers = [...this.#world.database.timers.values()].filter((timer) => partitions.includes(timer.partition));
    return timers.sort((a, b) => a.fireAtMs - b.fireAtMs);
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#world.network.call(this.#life, this.#world.databaseServer, what, effect);
  }
}

const isOpen = (row: ActivityRow): boolean =>
  row.state === 'queued' || row.state === 'placed' || row.state === 'running';

export function storedWorkflow(database: SimDatabase, row: WorkflowRow): StoredWorkflow {
  const facts = database
    .eventsOf(row.workflowId)
    .filter((event) => event.seq > row.snapshotSeq)
    .map(({ seq, messageId, atMs, type, dataJson }) => ({
      seq,
      messageId,
      atMs,
      fact: { type, data: JSON.parse(dataJson) } as Fact,
    }));
  return {
    row: { ...row, snapshotJson: null },
    snapshot: row.snapshotJson === null ? null : (JSON.parse(row.snapshotJson) as WorkflowState),
    facts,
    messageIds: database.messageIds(row.workflowId),
  };
}

/** What a commit contains, for the trace; without ids that come from real chance. */
function commitLabel(commit: Commit): string {
  const events = commit.events.map((e) => `${e.workflowId}#${e.seq} ${e.type} -> ${e.state}`);
  const rows = commit.activities.map(
    (a) => `${a.workflowId}/${a.activityId}#${a.epoch} ${a.state} ${a.workerId ?? ''}`,
  );
  const remote = commit.remotePlacements.map((p) => `${p.workflowId}/${p.activityId}#${p.epoch} on ${p.workerId}`);
  const parts = [...events, ...rows, ...remote, `${commit.messages.length} messages`];
  return `commit [${parts.join('; ')}], ${commit.positions.length} positions`;
}
