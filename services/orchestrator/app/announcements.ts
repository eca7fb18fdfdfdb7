import type { OutgoingMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { type Addressed, encodeMessage } from '#lib/contracts/envelope.ts';
import type { StopReason } from '#lib/contracts/generated/messages.ts';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import type { MessageType } from '#lib/contracts/topics.ts';
import { invariant } from '#lib/kernel/errors.ts';
import type { ActivityEntry } from '../domain/activity-ledger.ts';
import type { ApprovalTicket } from '../domain/approval.ts';
import type { Parent } from '../domain/facts.ts';
import type { Signal } from '../domain/signals.ts';
import type { Effect } from '../domain/workflow-state.ts';
import type { Cell, Placement } from './cell.ts';

const SOURCE = '/trainyard/orchestrator';

/** An answer above this does not travel: a message has a limit, and a search of a thousand trials a long answer. */
const MOST_RESULT_CHARACTERS = 400_000;

const fitting = (resultJson: string, jobId: string): string =>
  resultJson.length <= MOST_RESULT_CHARACTERS
    ? resultJson
    : JSON.stringify({ omitted: true, characters: resultJson.length, result: `/v1/jobs/${jobId}` });

/** The messages an orchestrator publishes. Ids are functions of what they say, so that a repeated decision is the same message. */
export class Announcements {
  readonly #codec: Codec;

  constructor(codec: Codec) {
    this.#codec = codec;
  }

  execute(cell: Cell, entry: ActivityEntry, placement: Placement, heartbeatEveryMs: number): OutgoingMessage {
    invariant(cell.header !== null, `${cell.workflowId} has started`);
    const { activityId, name, lane, input, startToCloseMs } = entry.request;
    return this.#message(
      {
        topic: lane === 'gpu' ? 'lanes.gpu' : 'lanes.cpu',
        key: cell.workflowId,
        partition: placement.lanePartition,
        type: 'ExecuteActivity',
        payload: {
          workflowId: cell.workflowId,
          activityId,
          epoch: entry.epoch,
          jobId: cell.header.jobId,
          project: cell.header.project,
          activity: name,
          workerId: placement.workerId,
          inputJson: JSON.stringify(input),
          heartbeatEveryMs,
          deadlineAtMs: placement.placedAtMs + startToCloseMs,
          resumeJson: entry.checkpoint === null ? null : JSON.stringify(entry.checkpoint),
        },
      },
      `exec:${cell.workflowId}:${activityId}:${entry.epoch}`,
      placement.placedAtMs,
    );
  }

  stop(workflowId: string, activityId: string, epoch: number, reason: StopReason, atMs: number): OutgoingMessage {
    return this.#message(
      {
        topic: 'lanes.control',
        key: workflowId,
        type: 'StopActivity',
        payload: { workflowId, activityId, epoch, reason },
      },
      `stop:${workflowId}:${activityId}:${epoch}:${reason}`,
      atMs,
    );
  }

  startChild(cell: Cell, child: Extract<Effect, { type: 'startChild' }>, atMs: number): OutgoingMessage {
    invariant(cell.header !== null && cell.state !== null, `${cell.workflowId} has started`);
    const { project, priority, submittedAtMs } = cell.header;
    const { workflowId, jobId, jobType, childId, reports } = child;
    const parent: Parent = { workflowId: cell.workflowId, childId, reports };
    return this.#message(
      {
        topic: 'orchestrator.commands',
        key: workflowId,
        type: 'StartWorkflow',
        payload: {
          workflowId,
          jobId,
          project,
          jobType,
          priority,
          submittedAtMs,
          inputJson: JSON.stringify(child.input),
          parentJson: JSON.stringify(parent),
          submittedBy: cell.state.start.submittedBy ?? null,
        },
      },
      `start:${workflowId}`,
      atMs,
    );
  }

  cancel(workflowId: string, requestedBy: string, reason: string, atMs: number): OutgoingMessage {
    return this.#message(
      {
        topic: 'orchestrator.commands',
        key: workflowId,
        type: 'CancelJob',
        payload: { workflowId, requestedBy, reason },
      },
      `cancel:${requestedBy}:${workflowId}`,
      atMs,
    );
  }

  /** To a child, or to the parent. */
  signal(
    workflowId: string,
    { signal, data }: Signal,
    { id, from }: { readonly id: string; readonly from: string },
    atMs: number,
  ): OutgoingMessage {
    return this.#message(
      {
        topic: 'orchestrator.commands',
        key: workflowId,
        type: 'SignalWorkflow',
        payload: { workflowId, signal, dataJson: JSON.stringify(data), requestedBy: from },
      },
      id,
      atMs,
    );
  }

  approvalChanged(
    cell: Cell,
    approvalId: string,
    ticket: ApprovalTicket,
    reminder: boolean,
    atMs: number,
  ): OutgoingMessage {
    invariant(cell.header !== null, `${cell.workflowId} has started`);
    const { jobId, project } = cell.header;
    const { status, subject, digest, votes, required, expiresAtMs, reminders } = ticket;
    return this.#message(
      {
        topic: 'jobs.events',
        key: project,
        type: 'ApprovalChanged',
        payload: {
          approvalId,
          jobId,
          project,
          status,
          subjectJson: JSON.stringify(subject),
          digest,
          votes: votes.length,
          required,
          expiresAtMs,
          reminder: reminder ? reminders : 0,
        },
      },
      `approval:${approvalId}:${cell.seq}:${status}`,
      atMs,
    );
  }

  /** For ends that people should hear of. */
  alert(cell: Cell, kind: 'RolledBack' | 'SafetyFailed', atMs: number): OutgoingMessage {
    invariant(cell.header !== null && cell.state?.finish != null, `${cell.workflowId} has ended`);
    const { jobId, project } = cell.header;
    const { result } = cell.state.finish;
    const message =
      kind === 'RolledBack' ? 'the canary failed: the former version stays' : 'the safety gate was not passed';
    return this.#message(
      {
        topic: 'jobs.events',
        key: project,
        type: 'AlertRaised',
        payload: {
          alertId: `alert:${jobId}`,
          project,
          jobId,
          kind,
          message,
          detailJson: fitting(JSON.stringify(result), jobId),
        },
      },
      `alert:${jobId}`,
      atMs,
    );
  }

  statusChanged(cell: Cell, status: JobStatus, atMs: number): OutgoingMessage {
    invariant(cell.header !== null, `${cell.workflowId} has started`);
    const { jobId, project } = cell.header;
    return this.#message(
      {
        topic: 'jobs.events',
        key: project,
        type: 'JobStatusChanged',
        payload: { jobId, project, status, step: cell.state?.machine.value ?? null },
      },
      `status:${jobId}:${cell.seq}:${status}`,
      atMs,
    );
  }

  finished(cell: Cell, atMs: number): OutgoingMessage {
    invariant(cell.header !== null && cell.state?.finish != null, `${cell.workflowId} has ended`);
    const { jobId, project } = cell.header;
    const { status, result, error } = cell.state.finish;
    return this.#message(
      {
        topic: 'jobs.events',
        key: project,
        type: 'JobFinished',
        payload: {
          jobId,
          project,
          status,
          resultJson: result === null ? null : fitting(JSON.stringify(result), jobId),
          errorJson: error === null ? null : JSON.stringify(error),
        },
      },
      // A retried job ends again.
      `finished:${jobId}:${cell.seq}`,
      atMs,
    );
  }

  #message<T extends MessageType>(
    message: Omit<Addressed<T>, 'envelope'>,
    id: string,
    timeMs: number,
  ): OutgoingMessage {
    return encodeMessage(this.#codec, { ...message, envelope: { id, source: SOURCE, timeMs } });
  }
}
