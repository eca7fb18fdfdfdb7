import type { TopicSpec } from '#lib/bus/port.ts';
import type { MessageTypes } from './generated/messages.ts';

export type MessageType = keyof MessageTypes;

export interface TopicDeclaration {
  readonly partitions: number;
  readonly retentionMs: number;
  /** What the key of a message is. */
  readonly key: string;
  /** What Trainyard does on a topic that other systems may use; absent: internal, between its own processes. */
  readonly public?: 'receive' | 'send';
  /** How schemas of the topic may evolve: events are read by newer and older, commands only by newer code. */
  readonly compatibility: 'FULL_TRANSITIVE' | 'BACKWARD_TRANSITIVE';
  readonly messages: readonly MessageType[];
  readonly doc: string;
}

const DAY_MS = 86_400_000;

/**
 * Partitions of every topic whose key is a workflow id. One number for all: partition p of each of them belongs to the same
 * orchestrator shard (BUS-5). Fixed for the life of an installation.
 */
export const WORKFLOW_PARTITIONS = 8;

/** Every topic, in one place. */
export const TOPICS = {
  'jobs.requests': {
    partitions: 8,
    retentionMs: 7 * DAY_MS,
    key: 'project id',
    public: 'receive',
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['JobRequested', 'ApprovalVoteRequested'],
    doc: 'Other systems ask the gateway for jobs.',
  },
  'orchestrator.commands': {
    partitions: WORKFLOW_PARTITIONS,
    retentionMs: 7 * DAY_MS,
    key: 'workflow id',
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['StartWorkflow', 'CancelJob', 'SignalWorkflow'],
    doc: 'Gateway, drift monitor and workflows (to their parents and children) to orchestrator.',
  },
  'activities.events': {
    partitions: WORKFLOW_PARTITIONS,
    retentionMs: 3 * DAY_MS,
    key: 'workflow id',
    compatibility: 'FULL_TRANSITIVE',
    messages: [
      'ActivityStarted',
      'ActivityProgressed',
      'CheckpointSaved',
      'ActivityCompleted',
      'ActivityFailed',
      'ActivityYielded',
      'ActivityDeclined',
    ],
    doc: 'Workers to orchestrator.',
  },
  'workers.events': {
    partitions: 1,
    retentionMs: DAY_MS / 24,
    key: 'worker id',
    compatibility: 'FULL_TRANSITIVE',
    messages: ['WorkerHeartbeat'],
    doc: 'Workers to the orchestrator that holds the dispatcher role (the owner of partition 0).',
  },
  'lanes.cpu': {
    partitions: 8,
    retentionMs: DAY_MS,
    key: 'workflow id; the partition is one that the chosen worker consumes',
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['ExecuteActivity'],
    doc: 'Orchestrator to CPU workers.',
  },
  'lanes.gpu': {
    partitions: 8,
    retentionMs: DAY_MS,
    key: 'workflow id; the partition is one that the chosen worker consumes',
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['ExecuteActivity'],
    doc: 'Orchestrator to GPU workers.',
  },
  'lanes.control': {
    partitions: 1,
    retentionMs: DAY_MS / 24,
    key: 'workflow id',
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['StopActivity'],
    doc: 'Orchestrator to every worker.',
  },
  'jobs.events': {
    partitions: 8,
    retentionMs: 7 * DAY_MS,
    key: 'project id',
    public: 'send',
    compatibility: 'FULL_TRANSITIVE',
    messages: [
      'JobAccepted',
      'JobRejected',
      'JobStatusChanged',
      'JobFinished',
      'ApprovalChanged',
      'ApprovalVoteRefused',
      'AlertRaised',
    ],
    doc: 'What becomes of jobs and of requests for them. For anyone.',
  },
  'models.events': {
    partitions: 8,
    retentionMs: 7 * DAY_MS,
    key: 'project id/model name',
    public: 'send',
    compatibility: 'FULL_TRANSITIVE',
    messages: ['TrafficSplitChanged'],
    doc: 'Which versions of models answer whom. For model servers.',
  },
  'production.observations': {
    partitions: 8,
    retentionMs: 3 * DAY_MS,
    key: 'model name',
    public: 'receive',
    compatibility: 'FULL_TRANSITIVE',
    messages: ['ObservationRecorded'],
    doc: 'Model servers to the drift monitor.',
  },
  'retrain.signals': {
    partitions: 8,
    retentionMs: 7 * DAY_MS,
    key: 'model name',
    public: 'receive',
    compatibility: 'FULL_TRANSITIVE',
    messages: ['RetrainSignalled'],
    doc: 'Drift monitor, or another system, to the gateway: train a model again.',
  },
  'trainyard.dlq': {
    partitions: 1,
    retentionMs: 30 * DAY_MS,
    key: 'topic/partition/offset that the message had',
    compatibility: 'FULL_TRANSITIVE',
    messages: ['DeadLetter'],
    doc: 'Messages that could not be processed, with raw bytes, reason and position (`npm run dlq`).',
  },
} as const satisfies Record<string, TopicDeclaration>;

export type TopicName = keyof typeof TOPICS;

/** The topic specs for `Bus.ensureTopics`. */
export const topicSpecs = (): TopicSpec[] =>
  Object.entries(TOPICS).map(([topic, declaration]) => ({
    topic,
    partitions: declaration.partitions,
    retentionMs: declaration.retentionMs,
  }));
