import type { OutgoingMessage, Position, ReceivedMessage } from '#lib/bus/port.ts';
import type { ActivityEntry } from '../domain/activity-ledger.ts';
import { activityRowOf, type Cell, extrasOf, workflowRowOf } from './cell.ts';
import type {
  ActivityRow,
  ApprovalRow,
  ChildRow,
  Commit,
  EventRow,
  JobRow,
  MetricRow,
  ProgressRow,
  PromotionRow,
  RemotePlacement,
  SplitEndRow,
  SplitStartRow,
  TimerRow,
  WorkerRow,
} from './commit.ts';

/** Facts after which the fold is stored, so that a restart reads a bounded log per workflow. */
const SNAPSHOT_EVERY = 64;

/** A large state is stored less often: its writing must not cost more than the folding it saves. */
const snapshotEvery = ({ snapshotCharacters }: Cell): number =>
  SNAPSHOT_EVERY * Math.max(1, Math.ceil(snapshotCharacters / CHARACTERS_OF_ORDINARY_STATE));
const CHARACTERS_OF_ORDINARY_STATE = 65_536;

/** Collects what a batch of messages leads to; `toCommit` says it in rows. */
export class Batch {
  readonly #positions = new Map<string, Position>();
  readonly #cells = new Set<Cell>();
  readonly #activities = new Map<string, { cell: Cell; activityId: string }>();
  readonly #snapshots = new Set<Cell>();
  readonly #workers = new Map<string, WorkerRow>();
  readonly #progress = new Map<string, ProgressRow>();
  readonly #metrics = new Map<string, MetricRow>();
  readonly #timersSet = new Map<string, TimerRow>();
  readonly #timersRemoved = new Map<string, { workflowId: string; name: string }>();
  readonly events: EventRow[] = [];
  readonly jobs: JobRow[] = [];
  readonly children: ChildRow[] = [];
  readonly reopened: string[] = [];
  readonly promotions: PromotionRow[] = [];
  readonly splitsStarted: SplitStartRow[] = [];
  readonly splitsEnded: SplitEndRow[] = [];
  readonly #extras = new Set<Cell>();
  readonly #approvals = new Map<string, ApprovalRow>();
  readonly messages: OutgoingMessage[] = [];
  readonly remotePlacements: RemotePlacement[] = [];
  readonly nowMs: number;
  notifyPeers = false;

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  received(message: ReceivedMessage): void {
    const { topic, partition, offset } = message;
    this.#positions.set(`${topic}/${partition}`, { topic, partition, nextOffset: offset + 1 });
  }

  touch(cell: Cell): void {
    this.#cells.add(cell);
    if (cell.seq - cell.snapshotSeq >= snapshotEvery(cell) || cell.status === 'parked') this.#snapshots.add(cell);
  }

  /** What the row says besides: paused, parent, a new deadline. */
  touchExtras(cell: Cell): void {
    this.#extras.add(cell);
    this.#cells.add(cell);
  }

  approval(row: ApprovalRow): void {
    this.#approvals.set(row.id, row);
  }

  touchActivity(cell: Cell, activityId: string): void {
    this.#activities.set(`${cell.workflowId}\u0000${activityId}`, { cell, activityId });
  }

  worker(row: WorkerRow): void {
    this.#workers.set(row.workerId, row);
  }

  progress(row: ProgressRow): void {
    this.#progress.set(`${row.workflowId}\u0000${row.activityId}`, row);
  }

  metric(row: MetricRow): void {
    this.#metrics.set(`${row.jobId}\u0000${row.activityId}\u0000${row.name}\u0000${row.step}`, row);
  }

  setTimer(row: TimerRow): void {
    const key = `${row.workflowId}\u0000${row.name}`;
    this.#timersRemoved.delete(key);
    this.#timersSet.set(key, row);
  }

  /** Earliest timer this batch sets, or null. */
  get earliestTimerMs(): number | null {
    let earliest: number | null = null;
    for (const timer of this.#timersSet.values()) earliest = Math.min(earliest ?? timer.fireAtMs, timer.fireAtMs);
    return earliest;
  }

  removeTimer(workflowId: string, name: string): void {
    const key = `${workflowId}\u0000${name}`;
    this.#timersSet.delete(key);
    this.#timersRemoved.set(key, { workflowId, name });
  }

  get cells(): ReadonlySet<Cell> {
    return this.#cells;
  }

  get isEmpty(): boolean {
    return (
      this.#positions.size === 0 &&
      this.#cells.size === 0 &&
      this.#activities.size === 0 &&
      this.messages.length === 0 &&
      this.remotePlacements.length === 0 &&
      this.#timersRemoved.size === 0
    );
  }

  toCommit(fences: Commit['fences'], owner: string): Commit {
    return {
      fences,
      events: this.events,
      workflows: [...this.#cells].map((cell) => workflowRowOf(cell, this.#snapshotOf(cell))),
      activities: this.#activityRows(),
      progress: [...this.#progress.values()],
      metrics: [...this.#metrics.values()],
      jobs: this.jobs,
      extras: [...this.#extras].map((cell) => extrasOf(cell)),
      children: this.children,
      reopened: this.reopened,
      approvals: [...this.#approvals.values()],
      promotions: this.promotions,
      splitsStarted: this.splitsStarted,
      splitsEnded: this.splitsEnded,
      timersSet: [...this.#timersSet.values()],
      timersRemoved: [...this.#timersRemoved.values()],
      workers: [...this.#workers.values()],
      remotePlacements: this.remotePlacements,
      notifyPeers: this.notifyPeers ? owner : null,
      messages: this.messages,
      positions: [...this.#positions.values()],
    };
  }

  /** A parked cell's snapshot was taken when it was parked: its state is the last one that folded. */
  #snapshotOf(cell: Cell): string | null {
    if (!this.#snapshots.has(cell) || cell.state === null) return null;
    if (cell.status !== 'parked') cell.snapshotSeq = cell.seq;
    const json = JSON.stringify(cell.state);
    cell.snapshotCharacters = json.length;
    return json;
  }

  #activityRows(): ActivityRow[] {
    const rows: ActivityRow[] = [];
    for (const { cell, activityId } of this.#activities.values()) {
      const entry: ActivityEntry | undefined = cell.state?.activities[activityId];
      if (entry !== undefined) rows.push(activityRowOf(cell, entry, cell.latestMs));
    }
    return rows;
  }
}
