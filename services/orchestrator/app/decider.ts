import type { OutgoingMessage } from '#lib/bus/port.ts';
import { JOB_STATUS } from '#lib/contracts/jobs.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import { admit, type WorkflowMessage } from '../domain/admission.ts';
import type { ActivityEntry } from '../domain/activity-ledger.ts';
import type { Fact } from '../domain/facts.ts';
import { confirmed, granted } from '../domain/lease-keeper.ts';
import { type Effect, evolve, type WorkflowState } from '../domain/workflow-state.ts';
import type { WorkflowRegistry } from '../domain/workflows/registry.ts';
import type { Announcements } from './announcements.ts';
import type { Batch } from './batch.ts';
import { type Cell, gpuSecondsOf, isFinalStatus, jobStatusOf, needsPlace, waitsForOthers } from './cell.ts';
import { carryOutRelation, isRelation } from './relations.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { ShardMemory } from './shard.ts';

/** The queue this process feeds: its own dispatcher, or null when another orchestrator holds that role. */
export interface DecisionContext {
  readonly batch: Batch;
  readonly dispatcher: Dispatcher | null;
  readonly nowMs: number;
}

/** A parent that waits for its children's curves gets their points this soon. */
const REPORT_EVERY_MS = 500;

/** Facts after which the worker itself has left the attempt. */
const REPORTED_BY_WORKER: readonly string[] = [
  'ActivityCompleted',
  'ActivityFailed',
  'ActivityYielded',
  'ActivityDeclined',
];

/** Facts after which a workflow's row says something besides: `WorkflowStarted` only of a child. */
const CHANGES_EXTRAS: readonly string[] = ['PauseRequested', 'ResumeRequested', 'RetryRequested'];

/** Folds messages into the cells of a shard and collects what follows in the batch. Decisions are the domain's; this is bookkeeping. */
export class Decider {
  readonly #registry: WorkflowRegistry;
  readonly #memory: ShardMemory;
  readonly #announce: Announcements;

  constructor(registry: WorkflowRegistry, memory: ShardMemory, announce: Announcements) {
    this.#registry = registry;
    this.#memory = memory;
    this.#announce = announce;
  }

  /** Handles one message for a loaded cell. Throws only when the message itself cannot be understood. */
  handle(context: DecisionContext, cell: Cell, message: WorkflowMessage): void {
    if (cell.messageIds.has(message.id)) return;
    const admission = admit(this.#registry, cell.state, message, Math.max(cell.latestMs, context.nowMs));
    const { payload } = message;
    if (admission.kind === 'late') {
      if (REPORTED_BY_WORKER.includes(message.type) && 'activityId' in payload)
        context.dispatcher?.release(cell.workflowId, payload.activityId, payload.epoch);
      if (admission.stop !== null)
        this.#stop(context, cell, admission.stop.activityId, admission.stop.epoch, 'Revoked');
    }
    if (admission.kind === 'ignore') return;
    this.append(context, cell, admission.fact, message.id);
  }

  /** Appends a fact to the log of a loaded cell and carries out what follows from it. */
  append(context: DecisionContext, cell: Cell, fact: Fact, messageId: string): void {
    if (cell.messageIds.has(messageId)) return;
    cell.latestMs = Math.max(cell.latestMs, context.nowMs);
    const waited = waitsForOthers(this.#registry, cell);
    const effects = cell.status === 'parked' ? [] : this.#fold(cell, fact, cell.latestMs);
    cell.seq += 1;
    cell.messageIds.add(messageId);
    context.batch.events.push({
      workflowId: cell.workflowId,
      seq: cell.seq,
      type: fact.type,
      dataJson: JSON.stringify(fact.data),
      messageId,
      atMs: cell.latestMs,
      state: cell.state?.machine.value ?? '',
    });
    context.batch.touch(cell);
    if (CHANGES_EXTRAS.includes(fact.type) || (fact.type === 'WorkflowStarted' && fact.data.parent !== undefined))
      context.batch.touchExtras(cell);
    if (REPORTED_BY_WORKER.includes(fact.type) && 'activityId' in fact.data && fact.data.activityId !== null)
      context.dispatcher?.release(cell.workflowId, fact.data.activityId, fact.data.epoch ?? 0);
    this.carryOut(context, cell, effects);
    if (waited && cell.status === 'open' && !waitsForOthers(this.#registry, cell)) this.#prolong(context, cell);
    if (cell.running && cell.status === 'open' && !needsPlace(cell)) this.#givePlaceBack(context, cell);
  }

  /** Facts that were kept while nobody could fold them take effect now, each as if it came now: what it says has the id it would have had. */
  refold(
    context: DecisionContext,
    cell: Cell,
    folded: readonly { seq: number; fact: Fact; atMs: number; effects: readonly Effect[]; state: WorkflowState }[],
  ): void {
    const { seq: last } = cell;
    for (const { seq, fact, atMs, effects, state } of folded) {
      cell.state = state;
      cell.paused = state.paused !== undefined;
      cell.seq = seq;
      if (fact.type === 'RetryRequested' && cell.header !== null)
        cell.header.deadlineAtMs = Math.max(atMs, context.nowMs) + state.start.executionTimeoutMs;
      this.carryOut(context, cell, effects);
    }
    cell.seq = last;
    context.batch.touch(cell);
    context.batch.touchExtras(cell);
  }

  /** Execution goes on after a wait that may have taken weeks: its time starts anew. */
  #prolong(context: DecisionContext, cell: Cell): void {
    if (cell.header === null || cell.state === null) return;
    cell.header.deadlineAtMs = cell.latestMs + cell.state.start.executionTimeoutMs;
    context.batch.touchExtras(cell);
  }

  #givePlaceBack(context: DecisionContext, cell: Cell): void {
    cell.running = false;
    if (cell.header !== null) context.dispatcher?.workflowEnded(cell.workflowId, cell.header.project);
    context.batch.notifyPeers ||= context.dispatcher === null;
  }

  /** The effects of one fact; an empty list and a parked cell when the machine throws. */
  #fold(cell: Cell, fact: Fact, atMs: number): readonly Effect[] {
    if (fact.type === 'WorkflowStarted') takeHeader(cell, fact.data, atMs);
    if (fact.type === 'RetryRequested' && cell.header !== null && cell.state !== null)
      cell.header.deadlineAtMs = atMs + cell.state.start.executionTimeoutMs;
    try {
      const { state, effects } = evolve(this.#registry, cell.workflowId, cell.state, fact, atMs);
      cell.state = state;
      cell.paused = state.paused !== undefined;
      return effects;
    } catch (error) {
      cell.status = 'parked';
      cell.parkedReason = `${fact.type}: ${messageOf(error)}`;
      // The snapshot is the last state that folded; everything after it is folded again by a release that can.
      cell.snapshotSeq = cell.seq;
      return [];
    }
  }

  carryOut(context: DecisionContext, cell: Cell, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (isRelation(effect)) {
        carryOutRelation({ batch: context.batch, announce: this.#announce, nowMs: context.nowMs }, cell, effect);
        continue;
      }
      switch (effect.type) {
        case 'activityChanged':
          this.#activityChanged(context, cell, effect.entry);
          break;
        case 'stopAttempt':
          this.#stop(context, cell, effect.activityId, effect.epoch, effect.reason);
          break;
        case 'setTimer': {
          const { name, fireAtMs } = effect;
          context.batch.setTimer({ workflowId: cell.workflowId, partition: cell.partition, name, fireAtMs });
          break;
        }
        case 'cancelTimer':
          context.batch.removeTimer(cell.workflowId, effect.name);
          break;
        case 'reopened':
          cell.status = 'open';
          // Its place was given back when it ended.
          cell.running = false;
          if (cell.header !== null) context.batch.reopened.push(cell.header.jobId);
          break;
        case 'finished':
          cell.status = 'done';
          if (cell.header !== null) context.dispatcher?.workflowEnded(cell.workflowId, cell.header.project);
          context.batch.notifyPeers ||= context.dispatcher === null;
          break;
      }
    }
  }

  #activityChanged(context: DecisionContext, cell: Cell, entry: ActivityEntry): void {
    const { activityId } = entry.request;
    context.batch.touchActivity(cell, activityId);
    context.batch.notifyPeers ||= context.dispatcher === null;
    const lease = this.#memory.lease(cell.workflowId, activityId);
    if (entry.state === 'running') {
      if (lease?.startedAtMs != null && lease.epoch === entry.epoch) return;
      const { workerId, incarnation, startedAtMs, epoch } = entry;
      if (workerId === null || incarnation === null || startedAtMs === null) return;
      const { startToCloseMs } = entry.request;
      const base =
        lease ?? granted({ workflowId: cell.workflowId, activityId, epoch, workerId, startToCloseMs }, context.nowMs);
      this.#memory.setLease(confirmed(base, { workerId, incarnation, startedAtMs }, context.nowMs));
      context.dispatcher?.occupy(cell.workflowId, activityId, epoch, workerId);
      return;
    }
    // Placed, and not heard of: whatever else changed, this attempt goes on, or two workers would run it.
    if (entry.state === 'queued' && lease?.epoch === entry.epoch) return;
    if (lease !== undefined) this.#memory.endLease(cell.workflowId, activityId);
    if (entry.state !== 'queued' || cell.paused) {
      this.#memory.removeUnplaced(cell.workflowId, activityId);
      context.dispatcher?.dequeue(cell.workflowId, activityId);
      return;
    }
    if (cell.header === null) return;
    const queued = {
      workflowId: cell.workflowId,
      activityId,
      epoch: entry.epoch,
      lane: entry.request.lane,
      project: cell.header.project,
      priority: cell.header.priority,
      submittedAtMs: cell.header.submittedAtMs,
      notBeforeMs: entry.notBeforeMs,
      workflowRuns: cell.running,
    };
    this.#memory.setUnplaced(queued);
    context.dispatcher?.enqueue(queued);
  }

  #stop(
    context: DecisionContext,
    cell: Cell,
    activityId: string,
    epoch: number,
    reason: 'Cancelled' | 'Revoked' | 'Paused',
  ): void {
    if (reason !== 'Paused') context.dispatcher?.drain({ epoch }, cell.workflowId, activityId, context.nowMs);
    const placement = cell.placements.get(activityId);
    // Never placed: no worker has heard of it.
    if (placement === undefined || placement.epoch < epoch) return;
    context.batch.messages.push(this.#announce.stop(cell.workflowId, activityId, epoch, reason, context.nowMs));
  }

  /** The command for an attempt that was placed: from here on it has a lease. */
  place(
    context: DecisionContext,
    cell: Cell,
    activityId: string,
    workerId: string,
    lanePartition: number,
    heartbeatEveryMs: number,
  ): boolean {
    const entry = cell.state?.activities[activityId];
    if (entry?.state !== 'queued') return false;
    const placement = { epoch: entry.epoch, workerId, lanePartition, placedAtMs: context.nowMs };
    cell.placements.set(activityId, placement);
    this.#memory.removeUnplaced(cell.workflowId, activityId);
    cell.running = true;
    const { startToCloseMs } = entry.request;
    this.#memory.setLease(
      granted({ workflowId: cell.workflowId, activityId, epoch: entry.epoch, workerId, startToCloseMs }, context.nowMs),
    );
    context.batch.touch(cell);
    context.batch.touchActivity(cell, activityId);
    const reportsToParent = cell.header?.parent?.reports != null;
    const every = reportsToParent ? Math.min(heartbeatEveryMs, REPORT_EVERY_MS) : heartbeatEveryMs;
    context.batch.messages.push(this.#announce.execute(cell, entry, placement, every));
    return true;
  }

  #alerts(cell: Cell, status: string, nowMs: number): OutgoingMessage[] {
    return status === JOB_STATUS.rolledBack || status === JOB_STATUS.safetyFailed
      ? [this.#announce.alert(cell, ALERTS[status], nowMs)]
      : [];
  }

  /** Rows and messages about the status of the jobs whose workflows this batch touched. */
  showJobs(context: DecisionContext): void {
    for (const cell of context.batch.cells) {
      if (cell.header === null) continue;
      const status = jobStatusOf(this.#registry, cell);
      const step = cell.state?.machine.value ?? '';
      const parked = cell.status === 'parked';
      if (status === cell.shownStatus && step === cell.shownStep && parked === cell.shownParked) continue;
      const finished = isFinalStatus(status);
      context.batch.jobs.push({
        jobId: cell.header.jobId,
        status,
        step,
        resultJson: json(cell.state?.finish?.result ?? null),
        errorJson: errorJsonOf(cell),
        atMs: context.nowMs,
        finished,
        gpuSeconds: finished && cell.state !== null ? gpuSecondsOf(cell.state) : 0,
      });
      if (finished)
        context.batch.messages.push(
          this.#announce.finished(cell, context.nowMs),
          ...this.#alerts(cell, status, context.nowMs),
        );
      else if (status !== cell.shownStatus)
        context.batch.messages.push(this.#announce.statusChanged(cell, status, context.nowMs));
      cell.shownStatus = status;
      cell.shownStep = step;
      cell.shownParked = parked;
    }
  }
}

/** Ends that people should hear of. */
const ALERTS = { ROLLED_BACK: 'RolledBack', SAFETY_FAILED: 'SafetyFailed' } as const;

/** The problem to show; null leaves what is shown, JSON null takes back that the workflow was parked. */
function errorJsonOf(cell: Cell): string | null {
  if (cell.status === 'parked')
    return JSON.stringify({ code: 'WorkflowParked', message: cell.parkedReason ?? '', retryable: false, logTail: [] });
  const error = cell.state?.finish?.error ?? null;
  return error === null && cell.shownParked ? 'null' : json(error);
}

const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));

function takeHeader(cell: Cell, data: Extract<Fact, { type: 'WorkflowStarted' }>['data'], nowMs: number): void {
  cell.header = {
    definition: data.definition,
    jobId: data.jobId,
    project: data.project,
    priority: data.priority,
    submittedAtMs: data.submittedAtMs,
    deadlineAtMs: nowMs + data.executionTimeoutMs,
    parent: data.parent ?? null,
  };
}
