import { FINAL_STATUSES, JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import type { ActivityEntry } from '../domain/activity-ledger.ts';
import type { Parent } from '../domain/facts.ts';
import { laneSeconds } from '../domain/lane-seconds.ts';
import { evolve, type WorkflowState } from '../domain/workflow-state.ts';
import type { WorkflowRegistry } from '../domain/workflows/registry.ts';
import type { ActivityRow, Commit, WorkflowRow, WorkflowStatus } from './commit.ts';
import type { StoredWorkflow } from './store.ts';

/** Where an attempt was placed; the dispatcher's knowledge, not the log's. */
export interface Placement {
  readonly epoch: number;
  readonly workerId: string;
  readonly lanePartition: number;
  readonly placedAtMs: number;
}

/**
 * One workflow in the memory of the shard that owns it. Changed in place while a batch is decided: when the commit fails, every
 * cell is thrown away and read again.
 */
export interface Cell {
  readonly workflowId: string;
  readonly partition: number;
  header: Header | null;
  /** Null until the log was read (`loaded`), and for a workflow without a start. */
  state: WorkflowState | null;
  loaded: boolean;
  seq: number;
  snapshotSeq: number;
  /** Length of the snapshot that this process stored last; 0 = none yet. */
  snapshotCharacters: number;
  readonly messageIds: Set<string>;
  /**
   * When the newest fact was logged. Orchestrators' clocks differ, and clocks are set back: a fact is never logged before the one it follows, or times
   * between them would be negative.
   */
  latestMs: number;
  readonly placements: Map<string, Placement>;
  status: WorkflowStatus;
  running: boolean;
  /** Nothing of it is placed; as in the state, known without it. */
  paused: boolean;
  parkedReason: string | null;
  /** What the projection of the job says, so that only changes are written. */
  shownStatus: JobStatus | null;
  shownStep: string | null;
  shownParked: boolean;
}

interface Header {
  readonly definition: string;
  readonly jobId: string;
  readonly project: string;
  readonly priority: number;
  readonly submittedAtMs: number;
  deadlineAtMs: number;
  readonly parent: Parent | null;
}

export const newCell = (workflowId: string, partition: number): Cell => ({
  workflowId,
  partition,
  header: null,
  state: null,
  loaded: true,
  seq: 0,
  snapshotSeq: 0,
  snapshotCharacters: 0,
  messageIds: new Set(),
  latestMs: 0,
  placements: new Map(),
  status: 'open',
  running: false,
  paused: false,
  parkedReason: null,
  shownStatus: null,
  shownStep: null,
  shownParked: false,
});

/** A cell from its projection row alone; the log is read when a message or a placement needs it. */
export function unloadedCell(row: WorkflowRow): Cell {
  const cell = newCell(row.workflowId, row.partition);
  cell.loaded = false;
  takeRow(cell, row);
  return cell;
}

function takeRow(cell: Cell, row: WorkflowRow): void {
  cell.header = {
    definition: row.definition,
    jobId: row.jobId,
    project: row.project,
    priority: row.priority,
    submittedAtMs: row.submittedAtMs,
    deadlineAtMs: row.deadlineAtMs,
    parent: row.parent,
  };
  cell.paused = row.paused;
  cell.seq = row.seq;
  cell.snapshotSeq = row.snapshotSeq;
  cell.status = row.status;
  cell.running = row.running;
  cell.parkedReason = row.parkedReason;
  cell.shownParked = row.status === 'parked';
  cell.shownStep = row.state;
}

/** Reads a stored workflow into its cell. A log that does not fold any more parks it. */
export function loadCell(registry: WorkflowRegistry, cell: Cell, stored: StoredWorkflow): void {
  takeRow(cell, stored.row);
  cell.loaded = true;
  for (const id of stored.messageIds) cell.messageIds.add(id);
  // What folded stays: by it, messages are judged and their facts kept, until a release that can fold the rest.
  cell.state = stored.snapshot;
  try {
    if (cell.status !== 'parked')
      for (const { fact, atMs } of stored.facts)
        cell.state = evolve(registry, cell.workflowId, cell.state, fact, atMs).state;
    const { state } = cell;
    cell.latestMs = Math.max(latestIn(state), ...stored.facts.map(({ atMs }) => atMs));
    cell.shownStatus = jobStatusOf(registry, cell);
  } catch (error) {
    cell.status = 'parked';
    cell.parkedReason = `the log does not fold: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The newest time that a state remembers, ms: what later facts are measured from. */
function latestIn(state: WorkflowState | null): number {
  const times = Object.values(state?.activities ?? {}).flatMap((entry) => [
    entry.queuedAtMs,
    entry.startedAtMs ?? 0,
    entry.checkpointAtMs ?? 0,
  ]);
  return Math.max(state?.startedAtMs ?? 0, ...times);
}

/** What the job of a workflow is shown as. */
export function jobStatusOf(registry: WorkflowRegistry, { state, running }: Cell): JobStatus {
  if (state?.finish != null) return state.finish.status;
  if (state?.paused !== undefined) return JOB_STATUS.paused;
  const waits =
    state === null ? null : (registry.machine(state.start.definition)?.statusOf(state.machine.value) ?? null);
  // Its children run, or wait, as jobs of their own.
  const delegates = state?.children !== undefined;
  return waits ?? (running || delegates ? JOB_STATUS.running : JOB_STATUS.queued);
}

/** True while it waits for people or traffic. That has ends of its own, a ticket's expiry and a canary's timer, and does not count as execution. */
export function waitsForOthers(registry: WorkflowRegistry, { state, header, shownStep }: Cell): boolean {
  if (header === null) return false;
  const value = state === null ? shownStep : state.machine.value;
  return value !== null && (registry.machine(header.definition)?.statusOf(value) ?? null) !== null;
}

/**
 * Whether it has a place among the running workflows of its project: something of it runs or is to be placed. A search whose children run, a pruned
 * trial and a job that people have to approve must not keep others from running, their own children least of all.
 */
export function needsPlace({ state, paused }: Cell): boolean {
  const entries = Object.values(state?.activities ?? {});
  return entries.some((entry) => entry.state === 'running' || (entry.state === 'queued' && !paused));
}

export const isFinalStatus = (status: JobStatus): boolean => FINAL_STATUSES.includes(status);

/** GPU seconds a workflow has used: running time of its GPU-lane attempts, lost or not. Its children book their own. */
export const gpuSecondsOf = (state: WorkflowState): number => laneSeconds(Object.values(state.activities), 'gpu');

export function extrasOf({ workflowId, paused, header }: Cell): Commit['extras'][number] {
  if (header === null) throw new Error(`${workflowId} has no header`);
  return { workflowId, paused, parent: header.parent, deadlineAtMs: header.deadlineAtMs };
}

export function workflowRowOf(cell: Cell, snapshotJson: string | null): WorkflowRow {
  const header = cell.header;
  if (header === null) throw new Error(`${cell.workflowId} has no header`);
  return {
    workflowId: cell.workflowId,
    partition: cell.partition,
    definition: header.definition,
    jobId: header.jobId,
    project: header.project,
    priority: header.priority,
    submittedAtMs: header.submittedAtMs,
    deadlineAtMs: header.deadlineAtMs,
    parent: header.parent,
    paused: cell.paused,
    status: cell.status,
    state: cell.state?.machine.value ?? '',
    seq: cell.seq,
    running: cell.running,
    snapshotJson,
    snapshotSeq: cell.snapshotSeq,
    parkedReason: cell.parkedReason,
  };
}

export function activityRowOf(cell: Cell, entry: ActivityEntry, atMs: number): ActivityRow {
  const placement = cell.placements.get(entry.request.activityId);
  const placed = placement !== undefined && placement.epoch === entry.epoch ? placement : null;
  const over = entry.state !== 'queued' && entry.state !== 'running';
  return {
    workflowId: cell.workflowId,
    activityId: entry.request.activityId,
    name: entry.request.name,
    lane: entry.request.lane,
    state: entry.state === 'queued' && placed !== null ? 'placed' : entry.state,
    epoch: entry.epoch,
    failures: entry.failures,
    preemptions: entry.preemptions,
    notBeforeMs: entry.notBeforeMs,
    queuedAtMs: entry.queuedAtMs,
    placedAtMs: placed?.placedAtMs ?? null,
    startedAtMs: entry.startedAtMs,
    endedAtMs: over ? atMs : null,
    startToCloseMs: entry.request.startToCloseMs,
    workerId: entry.workerId ?? placed?.workerId ?? null,
    incarnation: entry.incarnation,
    lanePartition: placed?.lanePartition ?? null,
    errorJson: entry.lastFailure === null ? null : JSON.stringify(entry.lastFailure),
    waitingMs: entry.waitingMs,
    usefulMs: entry.usefulMs,
    lostMs: entry.lostMs,
  };
}
