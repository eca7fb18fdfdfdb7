import { assertNever, invariant } from '#lib/kernel/errors.ts';
import { JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import {
  type ActivityEntry,
  cancelled,
  checkpointed,
  completed,
  declined,
  failed,
  isOver,
  type LedgerStep,
  leaseEnded,
  schedule,
  started,
  yielded,
} from './activity-ledger.ts';
import type { Fact } from './facts.ts';
import type { MachineState, MachineStep } from './machine.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';
import type { WorkflowAction, WorkflowEvent } from './workflows/vocabulary.ts';

type Start = Extract<Fact, { type: 'WorkflowStarted' }>['data'];

/** One workflow: the fold of its facts. Plain JSON, so that it can be stored as a snapshot. */
export interface WorkflowState {
  readonly workflowId: string;
  readonly start: Omit<Start, 'input'>;
  readonly startedAtMs: number;
  readonly machine: MachineState;
  readonly activities: Readonly<Record<string, ActivityEntry>>;
  /** Pending timers by name: when they fire, epoch ms. */
  readonly timers: Readonly<Record<string, number>>;
  /** Null while it runs. */
  readonly finish: { readonly status: JobStatus; readonly result: unknown; readonly error: unknown } | null;
}

/** What follows from a fact, to be carried out once, in the transaction that appends it. On replay nobody looks. */
export type Effect =
  | { readonly type: 'activityChanged'; readonly entry: ActivityEntry }
  | {
      readonly type: 'stopAttempt';
      readonly activityId: string;
      readonly epoch: number;
      readonly reason: 'Cancelled' | 'Revoked';
    }
  | { readonly type: 'setTimer'; readonly name: string; readonly fireAtMs: number }
  | { readonly type: 'cancelTimer'; readonly name: string }
  | { readonly type: 'finished'; readonly status: JobStatus; readonly result: unknown; readonly error: unknown };

export interface Evolved {
  readonly state: WorkflowState;
  readonly effects: readonly Effect[];
}

/** The fold: the state after `fact`, and what follows from it. Deterministic in its arguments; throws when the machine throws. */
export function evolve(
  registry: WorkflowRegistry,
  workflowId: string,
  state: WorkflowState | null,
  fact: Fact,
  atMs: number,
): Evolved {
  if (fact.type === 'WorkflowStarted') {
    invariant(state === null, `${workflowId} starts once`);
    return begin(registry, workflowId, fact.data, atMs);
  }
  invariant(state !== null, `${workflowId} has not started`);
  if (fact.type === 'LateMessageIgnored') return { state, effects: [] };
  const run = new Evolution(registry, state, atMs);
  run.apply(fact);
  return run.result();
}

function begin(registry: WorkflowRegistry, workflowId: string, data: Start, atMs: number): Evolved {
  const { input, ...start } = data;
  const machine = registry.machine(data.definition);
  if (machine === null) throw new Error(`no machine ${data.definition} in this release`);
  const first = machine.start(input);
  const state: WorkflowState = {
    workflowId,
    start,
    startedAtMs: atMs,
    machine: first.state,
    activities: {},
    timers: {},
    finish: null,
  };
  const run = new Evolution(registry, state, atMs);
  run.carryOut(first);
  return run.result();
}

/** One fact's way through ledger and machine; collects what changes. Lives for one call of `evolve`. */
class Evolution {
  readonly #registry: WorkflowRegistry;
  readonly #atMs: number;
  readonly #effects: Effect[] = [];
  #state: WorkflowState;

  constructor(registry: WorkflowRegistry, state: WorkflowState, atMs: number) {
    this.#registry = registry;
    this.#state = state;
    this.#atMs = atMs;
  }

  result(): Evolved {
    return { state: this.#state, effects: this.#effects };
  }

  apply(fact: Exclude<Fact, { type: 'WorkflowStarted' | 'LateMessageIgnored' }>): void {
    switch (fact.type) {
      case 'CancelRequested':
        return this.#tell({ type: 'cancel' });
      case 'ExecutionTimedOut':
        return this.#tell({ type: 'timeout' });
      case 'TimerFired': {
        const { [fact.data.name]: _fired, ...timers } = this.#state.timers;
        this.#state = { ...this.#state, timers };
        return this.#tell({ type: 'timer', name: fact.data.name });
      }
      case 'ActivityStarted':
        return this.#change(started(this.#entry(fact.data.activityId), fact.data, this.#atMs));
      case 'CheckpointSaved':
        return this.#change(checkpointed(this.#entry(fact.data.activityId), fact.data, this.#atMs));
      case 'ActivityCompleted':
      case 'ActivityFailed':
      case 'ActivityYielded':
      case 'ActivityDeclined':
      case 'LeaseEnded':
        return this.#endAttempt(fact);
      default:
        return assertNever(fact);
    }
  }

  #endAttempt(
    fact: Extract<
      Fact,
      { type: 'ActivityCompleted' | 'ActivityFailed' | 'ActivityYielded' | 'ActivityDeclined' | 'LeaseEnded' }
    >,
  ): void {
    const entry = this.#entry(fact.data.activityId);
    const step = endOf(entry, fact, this.#atMs);
    this.#change(step.entry);
    if (fact.type === 'LeaseEnded') {
      // The worker may still run it (stopped and continued, cut off): tell it that its time is over.
      this.#effects.push({
        type: 'stopAttempt',
        activityId: fact.data.activityId,
        epoch: fact.data.epoch,
        reason: 'Revoked',
      });
    }
    if (step.outcome === null) return;
    this.#tell(
      step.outcome.kind === 'done'
        ? { type: 'activity.done', activity: step.outcome.activityId, output: step.outcome.output }
        : { type: 'activity.failed', activity: step.outcome.activityId, failure: step.outcome.failure },
    );
  }

  #tell(event: WorkflowEvent): void {
    const machine = this.#registry.machine(this.#state.start.definition);
    if (machine === null) throw new Error(`no machine ${this.#state.start.definition} in this release`);
    const step = machine.step(this.#state.machine, event);
    if (step.moved) this.carryOut(step);
  }

  carryOut(step: MachineStep): void {
    this.#state = { ...this.#state, machine: step.state };
    for (const action of step.actions) this.#carryOutAction(action);
  }

  #carryOutAction(action: WorkflowAction): void {
    switch (action.type) {
      case 'startActivity':
        return this.#change(schedule({ ...action.params, retry: this.#state.start.retry }, this.#atMs));
      case 'setTimer': {
        const fireAtMs = this.#atMs + action.params.afterMs;
        this.#state = { ...this.#state, timers: { ...this.#state.timers, [action.params.name]: fireAtMs } };
        this.#effects.push({ type: 'setTimer', name: action.params.name, fireAtMs });
        return;
      }
      case 'cancelTimer':
        return this.#cancelTimer(action.params.name);
      case 'finish':
        return this.#finish(action.params);
      default:
        return assertNever(action);
    }
  }

  #finish(params: { status: JobStatus; result: unknown; failure: unknown }): void {
    for (const entry of Object.values(this.#state.activities)) {
      if (isOver(entry)) continue;
      this.#change(cancelled(entry, this.#atMs));
      this.#effects.push({
        type: 'stopAttempt',
        activityId: entry.request.activityId,
        epoch: entry.epoch,
        reason: 'Cancelled',
      });
    }
    for (const name of Object.keys(this.#state.timers)) this.#cancelTimer(name);
    const finish = { status: params.status, result: params.result, error: errorOf(params) };
    this.#state = { ...this.#state, finish };
    this.#effects.push({ type: 'finished', ...finish });
  }

  #cancelTimer(name: string): void {
    if (!Object.hasOwn(this.#state.timers, name)) return;
    const { [name]: _cancelled, ...timers } = this.#state.timers;
    this.#state = { ...this.#state, timers };
    this.#effects.push({ type: 'cancelTimer', name });
  }

  #change(entry: ActivityEntry): void {
    const activities = { ...this.#state.activities, [entry.request.activityId]: entry };
    this.#state = { ...this.#state, activities };
    this.#effects.push({ type: 'activityChanged', entry });
  }

  #entry(activityId: string): ActivityEntry {
    const entry = this.#state.activities[activityId];
    invariant(entry !== undefined, `${this.#state.workflowId} has no activity ${activityId}`);
    return entry;
  }
}

function endOf(
  entry: ActivityEntry,
  fact: Extract<
    Fact,
    { type: 'ActivityCompleted' | 'ActivityFailed' | 'ActivityYielded' | 'ActivityDeclined' | 'LeaseEnded' }
  >,
  atMs: number,
): LedgerStep {
  switch (fact.type) {
    case 'ActivityCompleted':
      return completed(entry, fact.data.output, fact.data.startedAtMs, atMs);
    case 'ActivityFailed': {
      const { code, message, retryable, logTail, startedAtMs } = fact.data;
      return failed(entry, { code, message, retryable, logTail }, startedAtMs, atMs);
    }
    case 'ActivityYielded':
      return yielded(entry, fact.data.startedAtMs, atMs);
    case 'ActivityDeclined':
      return declined(entry, atMs);
    case 'LeaseEnded':
      return leaseEnded(entry, fact.data.reason, atMs);
    default:
      return assertNever(fact);
  }
}

/** The problem of a job that ended badly; null for one that ended as it should. */
function errorOf(params: { status: JobStatus; failure: unknown }): unknown {
  if (params.status === JOB_STATUS.timedOut)
    return {
      code: 'ExecutionTimeout',
      message: 'the job ran longer than its type allows',
      retryable: false,
      logTail: [],
    };
  return params.failure;
}
