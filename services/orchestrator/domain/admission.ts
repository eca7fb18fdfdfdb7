import type { Message } from '#lib/contracts/envelope.ts';
import { assertNever } from '#lib/kernel/errors.ts';
import { isCurrent } from './activity-ledger.ts';
import { refusalOf } from './approval.ts';
import type { Fact, Parent } from './facts.ts';
import { isNewPause } from './pause.ts';
import { retryPoint } from './retry-point.ts';
import { parseSignal } from './signals.ts';
import type { WorkflowState } from './workflow-state.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';

/** What to do with a message: append a fact, answer a zombie, or nothing. */
export type Admission =
  | { readonly kind: 'append'; readonly fact: Fact }
  /** Late: recorded, and the worker that still runs the old attempt is told to stop. */
  | {
      readonly kind: 'late';
      readonly fact: Fact;
      readonly stop: { readonly activityId: string; readonly epoch: number } | null;
    }
  | { readonly kind: 'ignore'; readonly reason: string };

/** Messages of workflows that the shard folds; heartbeats do not enter the log. */
export type WorkflowMessage = Extract<
  Message,
  {
    type:
      | 'StartWorkflow'
      | 'CancelJob'
      | 'SignalWorkflow'
      | 'ActivityStarted'
      | 'CheckpointSaved'
      | 'ActivityCompleted'
      | 'ActivityFailed'
      | 'ActivityYielded'
      | 'ActivityDeclined';
  }
>;

/** Decides what a message means for a workflow in this state. Throws on JSON that does not parse (dead letter). */
export function admit(
  registry: WorkflowRegistry,
  state: WorkflowState | null,
  message: WorkflowMessage,
  atMs: number,
): Admission {
  if (message.type === 'StartWorkflow') {
    if (state !== null) return { kind: 'ignore', reason: 'the workflow has started already' };
    return admitStart(registry, message.payload);
  }
  if (state === null) return { kind: 'ignore', reason: 'no such workflow' };
  if (message.type === 'CancelJob') {
    if (state.finish !== null) return { kind: 'ignore', reason: 'the workflow has ended' };
    const { requestedBy, reason } = message.payload;
    return { kind: 'append', fact: { type: 'CancelRequested', data: { requestedBy, reason } } };
  }
  if (message.type === 'SignalWorkflow') return admitSignal(registry, state, message.payload, atMs);
  const { activityId, epoch } = message.payload;
  const entry = state.activities[activityId];
  if (entry === undefined || !isCurrent(entry, epoch)) {
    const fact: Fact = { type: 'LateMessageIgnored', data: { message: message.type, activityId, epoch } };
    const running = message.type === 'ActivityStarted' || message.type === 'CheckpointSaved';
    return { kind: 'late', fact, stop: running ? { activityId, epoch } : null };
  }
  // A second start of the same attempt: the command was delivered twice, the first report counts.
  if (message.type === 'ActivityStarted' && entry.state === 'running')
    return { kind: 'ignore', reason: 'the attempt has started already' };
  return { kind: 'append', fact: factOf(message) };
}

function admitStart(
  registry: WorkflowRegistry,
  payload: Extract<WorkflowMessage, { type: 'StartWorkflow' }>['payload'],
): Admission {
  const profile = registry.profile(payload.jobType);
  if (profile?.current == null) return { kind: 'ignore', reason: `job type ${payload.jobType} is not available` };
  return {
    kind: 'append',
    fact: {
      type: 'WorkflowStarted',
      data: {
        jobId: payload.jobId,
        project: payload.project,
        jobType: payload.jobType,
        definition: profile.current,
        priority: payload.priority,
        submittedAtMs: payload.submittedAtMs,
        retry: profile.retry,
        executionTimeoutMs: profile.executionTimeoutMs,
        input: JSON.parse(payload.inputJson),
        ...(payload.parentJson === null ? {} : { parent: JSON.parse(payload.parentJson) as Parent }),
        ...(payload.submittedBy === null ? {} : { submittedBy: payload.submittedBy }),
      },
    },
  };
}

/** Throws `SyntaxError` on a signal that nobody could understand. */
function admitSignal(
  registry: WorkflowRegistry,
  state: WorkflowState,
  payload: Extract<WorkflowMessage, { type: 'SignalWorkflow' }>['payload'],
  atMs: number,
): Admission {
  const parsed = parseSignal(payload.signal, payload.dataJson);
  const { requestedBy } = payload;
  const over = state.finish !== null;
  switch (parsed.signal) {
    case 'pause':
      if (over || !isNewPause(state.paused, parsed.data.reason ?? null))
        return { kind: 'ignore', reason: 'nothing to pause' };
      return append({ type: 'PauseRequested', data: { requestedBy, reason: parsed.data.reason ?? null } });
    case 'resume': {
      const only = parsed.data.reason ?? null;
      if (state.paused === undefined || (only !== null && only !== state.paused.reason))
        return { kind: 'ignore', reason: 'nothing to resume' };
      return append({ type: 'ResumeRequested', data: { requestedBy } });
    }
    case 'retry':
      if (retryPoint(registry, state) === null) return { kind: 'ignore', reason: 'nothing to try again' };
      return append({ type: 'RetryRequested', data: { requestedBy } });
    case 'approval.vote': {
      const { approval, digest, decision, comment } = parsed.data;
      const ticket = state.approvals?.[approval];
      const ballot = { by: requestedBy, decision, comment };
      if (ticket === undefined || refusalOf(ticket, { ...ballot, digest }, atMs) !== null) return late(payload.signal);
      return append({ type: 'ApprovalVoted', data: { approval, ...ballot } });
    }
    case 'approval.void': {
      const { approval, reason } = parsed.data;
      if (state.approvals?.[approval]?.status !== 'open') return late(payload.signal);
      return append({ type: 'ApprovalVoided', data: { approval, reason, requestedBy } });
    }
    case 'child.reported':
      // Nobody asks any more: not worth a row for each point.
      if (over) return { kind: 'ignore', reason: 'the workflow has ended' };
      return append({ type: 'SignalReceived', data: { ...parsed, from: requestedBy } });
    case 'child.paused':
    case 'child.resumed':
    case 'child.ended':
    case 'canary.verdict':
      if (over) return late(payload.signal);
      return append({ type: 'SignalReceived', data: { ...parsed, from: requestedBy } });
    default:
      return assertNever(parsed);
  }
}

const append = (fact: Fact): Admission => ({ kind: 'append', fact });

const late = (message: string): Admission => ({
  kind: 'late',
  fact: { type: 'LateMessageIgnored', data: { message, activityId: null, epoch: null } },
  stop: null,
});

type AttemptMessage = Exclude<WorkflowMessage, { type: 'StartWorkflow' | 'CancelJob' | 'SignalWorkflow' }>;

function factOf(message: AttemptMessage): Fact {
  switch (message.type) {
    case 'ActivityStarted': {
      const { activityId, epoch, workerId, incarnation, startedAtMs } = message.payload;
      return { type: 'ActivityStarted', data: { activityId, epoch, workerId, incarnation, startedAtMs } };
    }
    case 'CheckpointSaved': {
      const { activityId, epoch, step, manifestKey, digest } = message.payload;
      return { type: 'CheckpointSaved', data: { activityId, epoch, step, manifestKey, digest } };
    }
    case 'ActivityCompleted': {
      const { activityId, epoch, workerId, startedAtMs, outputJson } = message.payload;
      return {
        type: 'ActivityCompleted',
        data: { activityId, epoch, workerId, startedAtMs, output: JSON.parse(outputJson) },
      };
    }
    case 'ActivityFailed': {
      const { activityId, epoch, workerId, startedAtMs, code, message: text, retryable, logTail } = message.payload;
      return {
        type: 'ActivityFailed',
        data: { activityId, epoch, workerId, startedAtMs, code, message: text, retryable, logTail },
      };
    }
    case 'ActivityYielded': {
      const { activityId, epoch, workerId, startedAtMs, reason } = message.payload;
      return { type: 'ActivityYielded', data: { activityId, epoch, workerId, startedAtMs, reason } };
    }
    case 'ActivityDeclined': {
      const { activityId, epoch, workerId, reason } = message.payload;
      return { type: 'ActivityDeclined', data: { activityId, epoch, workerId, reason } };
    }
  }
}
