import { partitionOf } from '#lib/kernel/partition.ts';
import { WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import type { Lane } from '../domain/activity-ledger.ts';
import { confirmed, granted, type Lease } from '../domain/lease-keeper.ts';
import type { QueuedActivity } from '../domain/scheduler.ts';
import type { WorkflowRegistry } from '../domain/workflows/registry.ts';
import { type Cell, loadCell, newCell, unloadedCell } from './cell.ts';
import type { ActivityRow, WorkflowRow } from './commit.ts';
import type { OrchestratorStore } from './store.ts';

/** Finished workflows that stay in memory for late messages; more are read again when one comes. */
const FINISHED_KEPT = 1_000;

/** Logs read by one query at most. */
const LOAD_CHUNK = 100;

/** Queries for logs under way at once: the database reads the next chunk while this process folds one. The commit keeps a connection of its own. */
const LOADS_AT_ONCE = 3;

/** The workflows of the partitions this orchestrator owns, and the leases on their running attempts. */
export class ShardMemory {
  readonly #store: OrchestratorStore;
  readonly #registry: WorkflowRegistry;
  readonly #cells = new Map<string, Cell>();
  readonly #finished = new Set<string>();
  /** By workflow id and activity id. */
  readonly #leases = new Map<string, Lease>();
  /** Keys of the leases of each worker: every announcement asks for them. */
  readonly #leasesByWorker = new Map<string, Set<string>>();
  /** Activities of these workflows that wait for a slot, by workflow id and activity id. */
  readonly unplaced = new Map<string, QueuedActivity>();
  /** Epoch by shard id, as claimed. */
  readonly epochs = new Map<number, number>();

  constructor(store: OrchestratorStore, registry: WorkflowRegistry) {
    this.#store = store;
    this.#registry = registry;
  }

  get partitions(): number[] {
    return [...this.epochs.keys()].filter((shard) => shard >= 0);
  }

  owns(workflowId: string): boolean {
    return this.epochs.has(partitionOf(workflowId, WORKFLOW_PARTITIONS));
  }

  cells(): Iterable<Cell> {
    return this.#cells.values();
  }

  get(workflowId: string): Cell | undefined {
    return this.#cells.get(workflowId);
  }

  lease(workflowId: string, activityId: string): Lease | undefined {
    return this.#leases.get(leaseKey(workflowId, activityId));
  }

  get leases(): ReadonlyMap<string, Lease> {
    return this.#leases;
  }

  /** In no order; a copy: leases may be changed and ended meanwhile. */
  leasesOf(workerId: string): Lease[] {
    return [...(this.#leasesByWorker.get(workerId) ?? [])].flatMap((key) => this.#leases.get(key) ?? []);
  }

  setLease(lease: Lease): void {
    const key = leaseKey(lease.workflowId, lease.activityId);
    const { workerId } = lease;
    if (this.#leases.get(key)?.workerId !== workerId) {
      this.#removeLease(key);
      const ofWorker = this.#leasesByWorker.get(workerId);
      if (ofWorker === undefined) this.#leasesByWorker.set(workerId, new Set([key]));
      else ofWorker.add(key);
    }
    this.#leases.set(key, lease);
  }

  endLease(workflowId: string, activityId: string): void {
    this.#removeLease(leaseKey(workflowId, activityId));
  }

  #removeLease(key: string): void {
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    this.#leases.delete(key);
    const ofWorker = this.#leasesByWorker.get(lease.workerId);
    ofWorker?.delete(key);
    if (ofWorker?.size === 0) this.#leasesByWorker.delete(lease.workerId);
  }

  setUnplaced(activity: QueuedActivity): void {
    this.unplaced.set(leaseKey(activity.workflowId, activity.activityId), activity);
  }

  removeUnplaced(workflowId: string, activityId: string): void {
    this.unplaced.delete(leaseKey(workflowId, activityId));
  }

  /** Makes the shards ours and loads what must be known at once: open workflows, queued and running activities. Returns the parked ones. */
  async takeOver(shards: readonly number[], nowMs: number): Promise<Cell[]> {
    if (shards.length === 0) return [];
    for (const [shard, epoch] of await this.#store.claim(shards)) this.epochs.set(shard, epoch);
    const partitions = shards.filter((shard) => shard >= 0);
    const open = await this.#store.openWork(partitions);
    const rows = new Map<string, WorkflowRow>();
    const parked: Cell[] = [];
    for (const row of open.workflows) {
      rows.set(row.workflowId, row);
      const cell = unloadedCell(row);
      this.#cells.set(row.workflowId, cell);
      if (row.status === 'parked') parked.push(cell);
    }
    for (const activity of open.activities) {
      const row = rows.get(activity.workflowId);
      if (row === undefined) continue;
      if (activity.state !== 'queued') this.#adopt(activity, nowMs);
      else if (!row.paused) this.setUnplaced(queuedFrom(row, activity));
    }
    return parked;
  }

  /** A running attempt goes on: its lease starts again now, and its next heartbeat finds it. */
  #adopt(activity: ActivityRow, nowMs: number): void {
    const { workflowId, activityId, epoch, workerId, incarnation, startedAtMs, startToCloseMs } = activity;
    const lease = granted({ workflowId, activityId, epoch, workerId: workerId ?? '', startToCloseMs }, nowMs);
    const started = activity.state === 'running' && startedAtMs !== null;
    this.setLease(
      started
        ? confirmed(lease, { workerId: workerId ?? '', incarnation: incarnation ?? '', startedAtMs }, nowMs)
        : lease,
    );
    this.#cells.get(workflowId)?.placements.set(activityId, {
      epoch,
      workerId: workerId ?? '',
      lanePartition: activity.lanePartition ?? 0,
      placedAtMs: activity.placedAtMs ?? nowMs,
    });
  }

  drop(shards: readonly number[]): void {
    for (const shard of shards) this.epochs.delete(shard);
    const gone = new Set(shards);
    for (const cell of this.#cells.values()) {
      if (!gone.has(cell.partition)) continue;
      this.#cells.delete(cell.workflowId);
      this.#finished.delete(cell.workflowId);
    }
    for (const [key, lease] of this.#leases) if (!this.#cells.has(lease.workflowId)) this.#removeLease(key);
    for (const [key, queued] of this.unplaced) if (!this.#cells.has(queued.workflowId)) this.unplaced.delete(key);
  }

  dropAll(): void {
    this.#cells.clear();
    this.#finished.clear();
    this.#leases.clear();
    this.#leasesByWorker.clear();
    this.unplaced.clear();
    this.epochs.clear();
  }

  /** Makes sure that every one of these has a loaded cell; unknown ids get an empty one. */
  async load(workflowIds: Iterable<string>): Promise<void> {
    const missing = new Set<string>();
    for (const id of workflowIds) if (this.#cells.get(id)?.loaded !== true) missing.add(id);
    const ids = [...missing];
    for (let at = 0; at < ids.length; at += LOADS_AT_ONCE * LOAD_CHUNK) {
      const loads = Array.from({ length: LOADS_AT_ONCE }, (_, n) => {
        const chunk = ids.slice(at + n * LOAD_CHUNK, at + (n + 1) * LOAD_CHUNK);
        return { chunk, stored: this.#store.load(chunk) };
      });
      // The first failure ends the turn; the others of its kind are no news.
      for (const { stored } of loads) stored.catch(() => undefined);
      for (const { chunk, stored } of loads) {
        const workflows = await stored;
        for (const id of chunk) this.#fill(id, workflows.get(id));
      }
    }
  }

  #fill(workflowId: string, stored: Parameters<typeof loadCell>[2] | undefined): void {
    let cell = this.#cells.get(workflowId);
    if (cell === undefined) {
      cell = newCell(workflowId, partitionOf(workflowId, WORKFLOW_PARTITIONS));
      this.#cells.set(workflowId, cell);
    }
    if (stored === undefined) return;
    loadCell(this.#registry, cell, stored);
    if (cell.status === 'done') this.#finished.add(workflowId);
  }

  /** After a commit of `touched`: cells that nobody needs any more make room. `inUse` were changed since and must stay. */
  settle(touched: Iterable<Cell>, inUse: ReadonlySet<Cell>): void {
    for (const cell of touched) {
      if (cell.header === null && !inUse.has(cell)) this.#cells.delete(cell.workflowId);
      else if (cell.status === 'done') this.#finished.add(cell.workflowId);
      else this.#finished.delete(cell.workflowId);
    }
    for (const id of this.#finished) {
      if (this.#finished.size <= FINISHED_KEPT) break;
      const cell = this.#cells.get(id);
      if (cell !== undefined && inUse.has(cell)) continue;
      this.#finished.delete(id);
      this.#cells.delete(id);
    }
  }
}

const leaseKey = (workflowId: string, activityId: string): string => `${workflowId}\u0000${activityId}`;

/** A stored activity that waits, as the scheduler sees it. */
export const queuedFrom = (row: WorkflowRow, activity: ActivityRow): QueuedActivity => ({
  workflowId: activity.workflowId,
  activityId: activity.activityId,
  epoch: activity.epoch,
  lane: activity.lane as Lane,
  project: row.project,
  priority: row.priority,
  submittedAtMs: row.submittedAtMs,
  notBeforeMs: activity.notBeforeMs,
  workflowRuns: row.running,
});
