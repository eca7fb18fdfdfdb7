import type { JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { Fact, Parent } from '../../../services/orchestrator/domain/facts.ts';
import { type Effect, evolve, type WorkflowState } from '../../../services/orchestrator/domain/workflow-state.ts';
import {
  PROFILES,
  type WorkflowRegistry,
  workflowRegistry,
} from '../../../services/orchestrator/domain/workflows/registry.ts';
import { type FactAt, said, T0, WORKFLOW_ID } from '../given-when-then.ts';
import { plausibleOutput } from './flow-outputs.ts';

/** The first fact of a workflow of the shipped definition. */
export function startOf(
  jobType: JobType,
  input: unknown,
  change: { readonly parent?: Parent; readonly submittedBy?: string } = {},
): Fact {
  const { current, retry, executionTimeoutMs } = PROFILES[jobType];
  const data = {
    jobId: 'job-1',
    project: 'demo',
    jobType,
    definition: current ?? '',
    priority: 1,
    submittedAtMs: 999_000,
    retry,
    executionTimeoutMs,
    input,
    submittedBy: 'key-submitter',
    ...change,
  };
  return { type: 'WorkflowStarted', data };
}

/**
 * A workflow told fact by fact, a second apart: what it asks for is answered with plausible outputs, or as the test wants. Keeps the log, the
 * state and what followed; the domain as it is, nothing mocked.
 */
export class Story {
  readonly facts: FactAt[] = [];
  readonly #registry: WorkflowRegistry;
  readonly #workflowId: string;
  readonly #effects: Effect[] = [];
  #state: WorkflowState | null = null;
  #nowMs = T0;

  /** The version in production, as far as this story tells. */
  champion: number | null = null;

  constructor(start: Fact, options: { registry?: WorkflowRegistry; workflowId?: string } = {}) {
    this.#registry = options.registry ?? workflowRegistry();
    this.#workflowId = options.workflowId ?? WORKFLOW_ID;
    if (start.type === 'WorkflowStarted') this.champion = championOf(start.data.input);
    this.tell(start);
  }

  get state(): WorkflowState {
    if (this.#state === null) throw new Error('not started');
    return this.#state;
  }

  /** Everything that followed so far, one line each. */
  get said(): string[] {
    return this.#effects.map(said);
  }

  get effects(): readonly Effect[] {
    return this.#effects;
  }

  get machineState(): string {
    return this.state.machine.value;
  }

  get status(): JobStatus | null {
    return this.state.finish?.status ?? null;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Appends a fact, a second after the one before it or at its time. Returns what followed, one line each. */
  tell(fact: Fact, atMs = this.facts.length === 0 ? T0 : this.#nowMs + 1_000): string[] {
    const { state, effects } = evolve(this.#registry, this.#workflowId, this.#state, fact, atMs);
    this.#nowMs = atMs;
    this.#state = state;
    this.#effects.push(...effects);
    this.facts.push({ fact, atMs });
    const lines = effects.map(said);
    // Whoever releases asks what is in production: what the flow was started with still is.
    if (state.activities['find_champion']?.state === 'queued')
      return [...lines, ...this.answer('find_champion', { version: this.champion })];
    return lines;
  }

  /** An activity is done, by default with a plausible output for what it was asked; `change` replaces members of that. */
  answer(activityId: string, change: object = {}): string[] {
    const { epoch, request } = this.#entry(activityId);
    const output = { ...(plausibleOutput(request.name, request.input) as object), ...change };
    return this.tell({
      type: 'ActivityCompleted',
      data: { activityId, epoch, workerId: 'w1', startedAtMs: this.#nowMs, output },
    });
  }

  begin(activityId: string): string[] {
    const { epoch } = this.#entry(activityId);
    const data = { activityId, epoch, workerId: 'w1', incarnation: 'i1', startedAtMs: this.#nowMs };
    return this.tell({ type: 'ActivityStarted', data });
  }

  checkpoint(activityId: string, step: number): string[] {
    const { epoch } = this.#entry(activityId);
    const digest = '9'.repeat(64);
    return this.tell({
      type: 'CheckpointSaved',
      data: { activityId, epoch, step, manifestKey: `checkpoints/${step}`, digest },
    });
  }

  fail(activityId: string, retryable = false): string[] {
    const { epoch } = this.#entry(activityId);
    const failure = { code: 'TrainerFailed', message: 'it broke', retryable, logTail: ['a', 'b'] };
    return this.tell({
      type: 'ActivityFailed',
      data: { activityId, epoch, workerId: 'w1', startedAtMs: this.#nowMs, ...failure },
    });
  }

  yieldUp(activityId: string): string[] {
    const { epoch } = this.#entry(activityId);
    const data = { activityId, epoch, workerId: 'w1', startedAtMs: this.#nowMs, reason: 'Paused' };
    return this.tell({ type: 'ActivityYielded', data });
  }

  pause(reason: string | null = null): string[] {
    return this.tell({ type: 'PauseRequested', data: { requestedBy: 'key-1', reason } });
  }

  resume(): string[] {
    return this.tell({ type: 'ResumeRequested', data: { requestedBy: 'key-1' } });
  }

  retry(): string[] {
    return this.tell({ type: 'RetryRequested', data: { requestedBy: 'key-1' } });
  }

  cancel(): string[] {
    return this.tell({ type: 'CancelRequested', data: { requestedBy: 'key-1', reason: null } });
  }

  timeOut(): string[] {
    return this.tell({ type: 'ExecutionTimedOut', data: {} });
  }

  vote(approval: string, by: string, decision: 'approve' | 'reject' = 'approve'): string[] {
    return this.tell({ type: 'ApprovalVoted', data: { approval, by, decision, comment: null } });
  }

  voidTicket(approval: string): string[] {
    return this.tell({
      type: 'ApprovalVoided',
      data: { approval, reason: 'the report changed', requestedBy: 'key-1' },
    });
  }

  /** The timer fires at its time. */
  fire(name: string): string[] {
    const fireAtMs = this.state.timers[name];
    if (fireAtMs === undefined) throw new Error(`no timer ${name}`);
    return this.tell({ type: 'TimerFired', data: { name } }, fireAtMs);
  }

  verdict(outcome: 'pass' | 'fail' | 'inconclusive'): string[] {
    const data = { outcome, reports: [{ metric: 'error_rate' }] };
    return this.tell({ type: 'SignalReceived', data: { signal: 'canary.verdict', data, from: 'drift-monitor' } });
  }

  reported(child: string, ...points: readonly (readonly [step: number, value: number | null])[]): string[] {
    const data = { child, points: points.map(([step, value]) => ({ step, value })) };
    return this.tell({ type: 'SignalReceived', data: { signal: 'child.reported', data, from: `wf~${child}` } });
  }

  childPaused(child: string, step: number, gpuSeconds = 1): string[] {
    const data = { child, step, gpuSeconds };
    return this.tell({ type: 'SignalReceived', data: { signal: 'child.paused', data, from: `wf~${child}` } });
  }

  childResumed(child: string): string[] {
    return this.tell({
      type: 'SignalReceived',
      data: { signal: 'child.resumed', data: { child }, from: `wf~${child}` },
    });
  }

  childEnded(child: string, status: JobStatus, result: unknown = null, error: unknown = null): string[] {
    const data = { child, jobId: `job-1-${child}`, status, result, error, gpuSeconds: 2 };
    return this.tell({ type: 'SignalReceived', data: { signal: 'child.ended', data, from: `wf~${child}` } });
  }

  #entry(activityId: string) {
    const entry = this.state.activities[activityId];
    if (entry === undefined) throw new Error(`no activity ${activityId} in ${this.machineState}`);
    return entry;
  }
}

/** What a job's input says about production when it was taken in. */
function championOf(input: unknown): number | null {
  const { champion = null } = input as { champion?: number | { version: number; stage: string } | null };
  if (champion === null || typeof champion === 'number') return champion;
  return champion.stage === 'prod' ? champion.version : null;
}
