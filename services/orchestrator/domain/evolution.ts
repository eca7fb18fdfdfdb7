import { JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import { assertNever, invariant } from '#lib/kernel/errors.ts';
import {
  type ActivityEntry,
  cancelled,
  checkpointed,
  isOver,
  retried,
  schedule,
  started,
  withdrawn,
} from './activity-ledger.ts';
import {
  type ApprovalRequest,
  type ApprovalTicket,
  closeTicket,
  countBallot,
  openTicket,
  reminded,
} from './approval.ts';
import { type AttemptEnd, endOfAttempt } from './attempt-end.ts';
import type { Fact } from './facts.ts';
import type { MachineRunner, MachineStep } from './machine.ts';
import { laneSeconds } from './lane-seconds.ts';
import { PARENT_PAUSED } from './pause.ts';
import { retryPoint } from './retry-point.ts';
import type { Effect, Evolved, WorkflowState } from './workflow-model.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';
import type {
  SignalChildParams,
  StartActivityParams,
  StartChildParams,
  WorkflowAction,
  WorkflowEvent,
} from './workflows/workflow-types.ts';

/** Ends after which a workflow takes the children that still run with it. After any other they may go on: a pruned trial can be revived. */
const TAKES_CHILDREN_ALONG: readonly JobStatus[] = [JOB_STATUS.cancelled, JOB_STATUS.timedOut, JOB_STATUS.failed];

/** One fact's way through ledger and machine; collects what changes. Lives for one call of `evolve`. */
export class Evolution {
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
      case 'TimerFired':
        return this.#timerFired(fact.data.name);
      case 'PauseRequested':
        return this.#pause(fact.data.reason, fact.data.requestedBy);
      case 'ResumeRequested':
        return this.#resume();
      case 'RetryRequested':
        return this.#retry();
      case 'ApprovalVoted': {
        const { approval, ...ballot } = fact.data;
        const ticket = this.#state.approvals?.[approval];
        // Kept while nobody could fold: it may have been decided before.
        return ticket?.status === 'open' ? this.#ticketChanged(countBallot(ticket, ballot, this.#atMs)) : undefined;
      }
      case 'ApprovalVoided':
        return this.#close(fact.data.approval, 'voided');
      case 'SignalReceived':
        return this.#signalled(fact.data);
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

  carryOut(step: MachineStep): void {
    this.#state = { ...this.#state, machine: step.state };
    for (const action of step.actions) this.#carryOutAction(action);
  }

  #endAttempt(fact: AttemptEnd): void {
    const { activityId, epoch } = fact.data;
    const step = endOfAttempt(this.#entry(activityId), fact, this.#atMs);
    // The worker may still run it (stopped and continued, cut off): tell it that its time is over.
    const revoked: Effect[] =
      fact.type === 'LeaseEnded' ? [{ type: 'stopAttempt', activityId, epoch, reason: 'Revoked' }] : [];
    this.#change(step.entry);
    this.#effects.push(...revoked);
    if (step.outcome === null) return this.#cameToRest();
    const { outcome } = step;
    if (outcome.kind === 'done') this.#tell({ type: 'activity.done', activity: activityId, output: outcome.output });
    else this.#tell({ type: 'activity.failed', activity: activityId, failure: outcome.failure });
    if (outcome.kind === 'done' && this.#entry(activityId).request.name !== activityId) this.#forgetInput(activityId);
    this.#cameToRest();
  }

  /** A step that runs many times under many ids: what it was asked stays out of the snapshots once it has answered. */
  #forgetInput(activityId: string): void {
    const entry = this.#entry(activityId);
    const forgotten = { ...entry, request: { ...entry.request, input: null } };
    this.#state = { ...this.#state, activities: { ...this.#state.activities, [activityId]: forgotten } };
  }

  /** What people, traffic and time say to a paused workflow is kept for when it is resumed: nothing is released meanwhile. */
  #tell(event: WorkflowEvent): void {
    const { paused } = this.#state;
    if (paused !== undefined && isDecision(event)) {
      this.#state = { ...this.#state, paused: { ...paused, held: [...(paused.held ?? []), event] } };
      return;
    }
    const step = this.#machine().step(this.#state.machine, event);
    if (step.moved) this.carryOut(step);
  }

  #machine(): MachineRunner {
    const machine = this.#registry.machine(this.#state.start.definition);
    if (machine === null) throw new Error(`no machine ${this.#state.start.definition} in this release`);
    return machine;
  }

  #carryOutAction(action: WorkflowAction): void {
    switch (action.type) {
      case 'startActivity':
        return this.#startActivity(action.params);
      case 'startChild':
        return this.#startChild(action.params);
      case 'signalChild':
        return this.#signalChild(action.params);
      case 'requestApproval':
        return this.#requestApproval(action.params);
      case 'promote':
        this.#effects.push({ type: 'promote', promotion: action.params });
        return;
      case 'startCanary':
        this.#effects.push({ type: 'startCanary', canary: action.params });
        return;
      case 'endCanary':
        this.#effects.push({ type: 'endCanary', ...action.params });
        return;
      case 'setTimer':
        return this.#setTimer(action.params.name, this.#atMs + action.params.afterMs);
      case 'cancelTimer':
        return this.#cancelTimer(action.params.name);
      case 'finish':
        return this.#finish(action.params);
      default:
        return assertNever(action);
    }
  }

  #startActivity(params: StartActivityParams): void {
    this.#change(schedule({ ...params, retry: this.#state.start.retry }, this.#atMs));
  }

  #startChild({ childId, jobType, input, reports }: StartChildParams): void {
    const { jobId: parentJobId, project } = this.#state.start;
    const child = { workflowId: `${this.#state.workflowId}~${childId}`, jobId: `${parentJobId}-${childId}` };
    const children = { ...this.#state.children, [childId]: { ...child, ended: false } };
    this.#state = { ...this.#state, children };
    const whole = { ...input, jobId: child.jobId, project };
    this.#effects.push({ type: 'startChild', childId, ...child, jobType, input: whole, spec: input.spec, reports });
    // Something that ran when it was paused has ended and led here.
    if (this.#state.paused !== undefined) this.#signalChild({ childId, signal: 'pause', reason: PARENT_PAUSED });
  }

  #signalChild({ childId, signal, reason }: SignalChildParams): void {
    const child = this.#state.children?.[childId];
    if (child === undefined || child.ended) return;
    const { workflowId } = child;
    if (signal === 'cancel') this.#effects.push({ type: 'cancelChild', workflowId, reason });
    else this.#effects.push({ type: 'signal', workflowId, signal, data: { reason } });
  }

  #signalled(signal: Extract<Fact, { type: 'SignalReceived' }>['data']): void {
    if (signal.signal === 'child.ended') this.#childEnded(signal.data.child, true);
    if (signal.signal === 'child.resumed') this.#childEnded(signal.data.child, false);
    this.#tell({ type: 'signal', signal });
  }

  #childEnded(childId: string, ended: boolean): void {
    const { children = {} } = this.#state;
    const child = Object.hasOwn(children, childId) ? children[childId] : undefined;
    if (child !== undefined)
      this.#state = { ...this.#state, children: { ...children, [childId]: { ...child, ended } } };
  }

  #pause(reason: string | null, by: string): void {
    if (this.#state.finish !== null) return;
    this.#state = { ...this.#state, paused: { ...this.#state.paused, reason, by } };
    for (const entry of Object.values(this.#state.activities)) {
      if (entry.state === 'running') this.#stop(entry, 'Paused');
      if (entry.state !== 'queued') continue;
      this.#stop(entry, 'Revoked');
      this.#change(withdrawn(entry, this.#atMs));
    }
    for (const childId of Object.keys(this.#state.children ?? {}))
      this.#signalChild({ childId, signal: 'pause', reason: PARENT_PAUSED });
    this.#cameToRest();
  }

  #resume(): void {
    const { paused, ...state } = this.#state;
    if (paused === undefined) return;
    this.#state = state;
    for (const entry of Object.values(state.activities))
      if (entry.state === 'queued') this.#effects.push({ type: 'activityChanged', entry });
    for (const childId of Object.keys(state.children ?? {}))
      this.#signalChild({ childId, signal: 'resume', reason: PARENT_PAUSED });
    const { parent } = state.start;
    if (parent !== undefined) {
      const data = { child: parent.childId };
      this.#effects.push({ type: 'signal', workflowId: parent.workflowId, signal: 'child.resumed', data });
    }
    for (const event of paused.held ?? []) if (this.#state.finish === null) this.#tell(event);
  }

  /** Tells the parent of a paused workflow when nothing of it runs any more. */
  #cameToRest(): void {
    const { paused, start, activities, finish } = this.#state;
    const entries = Object.values(activities);
    if (paused === undefined || start.parent === undefined || finish !== null) return;
    if (entries.some((entry) => entry.state === 'running')) return;
    const step = Math.max(0, ...entries.map(({ checkpoint }) => checkpoint?.step ?? 0));
    const data = { child: start.parent.childId, step, gpuSeconds: laneSeconds(entries, 'gpu') };
    this.#effects.push({ type: 'signal', workflowId: start.parent.workflowId, signal: 'child.paused', data });
  }

  #retry(): void {
    const point = retryPoint(this.#registry, this.#state);
    // Asked for twice while nobody could fold it.
    if (point === null) return;
    this.#state = { ...this.#state, machine: point.machine, finish: null };
    this.#effects.push({ type: 'reopened', atMs: this.#atMs });
    this.#change(retried(this.#entry(point.activityId), this.#atMs));
    const { parent } = this.#state.start;
    if (parent === undefined) return;
    const data = { child: parent.childId };
    this.#effects.push({ type: 'signal', workflowId: parent.workflowId, signal: 'child.resumed', data });
  }

  #requestApproval(request: ApprovalRequest): void {
    const ticket = openTicket(request, this.#state.start.submittedBy ?? null, this.#atMs);
    this.#setTimer(approvalTimer(ticket.approval, 'expires'), ticket.expiresAtMs);
    this.#setTimer(approvalTimer(ticket.approval, 'remind'), this.#atMs + ticket.remindEveryMs);
    this.#ticketChanged(ticket);
  }

  /** Keeps the ticket; a decided one ends its timers and is told to the machine. */
  #ticketChanged(ticket: ApprovalTicket, reminder = false): void {
    const { approval, status } = ticket;
    this.#state = { ...this.#state, approvals: { ...this.#state.approvals, [approval]: ticket } };
    this.#effects.push({ type: 'approvalChanged', ticket, reminder });
    if (status === 'open') return;
    this.#cancelTimer(approvalTimer(approval, 'expires'));
    this.#cancelTimer(approvalTimer(approval, 'remind'));
    if (status !== 'cancelled') this.#tell({ type: 'approval.decided', approval, outcome: status });
  }

  #close(approval: string, status: 'voided' | 'expired'): void {
    const ticket = this.#state.approvals?.[approval];
    if (ticket?.status === 'open') this.#ticketChanged(closeTicket(ticket, status, this.#atMs));
  }

  #timerFired(name: string): void {
    const { [name]: _fired, ...timers } = this.#state.timers;
    this.#state = { ...this.#state, timers };
    const of = /^approval:(.+):(expires|remind)$/.exec(name);
    if (of === null) return this.#tell({ type: 'timer', name });
    const ticket = this.#ticket(of[1] ?? '');
    if (of[2] === 'expires') return this.#close(ticket.approval, 'expired');
    this.#setTimer(name, this.#atMs + ticket.remindEveryMs);
    this.#ticketChanged(reminded(ticket), true);
  }

  #finish(params: { status: JobStatus; result: unknown; failure: unknown }): void {
    for (const entry of Object.values(this.#state.activities)) {
      if (isOver(entry)) continue;
      this.#change(cancelled(entry, this.#atMs));
      this.#stop(entry, 'Cancelled');
    }
    for (const ticket of Object.values(this.#state.approvals ?? {}))
      if (ticket.status === 'open') this.#ticketChanged(closeTicket(ticket, 'cancelled', this.#atMs));
    if (TAKES_CHILDREN_ALONG.includes(params.status))
      for (const childId of Object.keys(this.#state.children ?? {}))
        this.#signalChild({ childId, signal: 'cancel', reason: `its parent ended ${params.status}` });
    for (const name of Object.keys(this.#state.timers)) this.#cancelTimer(name);
    const { paused: _paused, ...state } = this.#state;
    const finish = { status: params.status, result: params.result, error: errorOf(params) };
    this.#state = { ...state, finish };
    this.#effects.push({ type: 'finished', ...finish });
    const { parent } = state.start;
    if (parent === undefined) return;
    const gpuSeconds = laneSeconds(Object.values(state.activities), 'gpu');
    const data = { child: parent.childId, jobId: state.start.jobId, ...finish, gpuSeconds };
    this.#effects.push({ type: 'signal', workflowId: parent.workflowId, signal: 'child.ended', data });
  }

  #stop({ request: { activityId }, epoch }: ActivityEntry, reason: 'Cancelled' | 'Paused' | 'Revoked'): void {
    this.#effects.push({ type: 'stopAttempt', activityId, epoch, reason });
  }

  #setTimer(name: string, fireAtMs: number): void {
    this.#state = { ...this.#state, timers: { ...this.#state.timers, [name]: fireAtMs } };
    this.#effects.push({ type: 'setTimer', name, fireAtMs });
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

  #ticket(approval: string): ApprovalTicket {
    const ticket = this.#state.approvals?.[approval];
    invariant(ticket !== undefined, `${this.#state.workflowId} has no ticket ${approval}`);
    return ticket;
  }
}

const isDecision = (event: WorkflowEvent): boolean =>
  event.type === 'approval.decided' ||
  event.type === 'timer' ||
  (event.type === 'signal' && event.signal.signal === 'canary.verdict');

const approvalTimer = (approval: string, what: 'expires' | 'remind'): string => `approval:${approval}:${what}`;

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
