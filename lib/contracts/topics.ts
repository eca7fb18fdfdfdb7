import type { TopicSpec } from '#lib/bus/port.ts';
import type { MessageTypes } from './generated/messages.ts';

export type MessageType = keyof MessageTypes;

interface TopicDeclaration {
  readonly partitions: number;
  readonly retentionMs: number;
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
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['JobRequested'],
    doc: 'Key: project id. Other systems to the gateway; public (docs/asyncapi.yaml).',
  },
  'orchestrator.commands': {
    partitions: WORKFLOW_PARTITIONS,
    retentionMs: 7 * DAY_MS,
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['StartWorkflow', 'CancelJob'],
    doc: 'Key: workflow id. Gateway and drift monitor to orchestrator.',
  },
  'activities.events': {
    partitions: WORKFLOW_PARTITIONS,
    retentionMs: 3 * DAY_MS,
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
    doc: 'Key: workflow id. Workers to orchestrator.',
  },
  'workers.events': {
    partitions: 1,
    retentionMs: DAY_MS / 24,
    compatibility: 'FULL_TRANSITIVE',
    messages: ['WorkerHeartbeat'],
    doc: 'Key: worker id. Workers to the orchestrator that holds the dispatcher role (the owner of partition 0).',
  },
  'lanes.cpu': {
    partitions: 8,
    retentionMs: DAY_MS,
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['ExecuteActivity'],
    doc: 'Partition: one that the chosen worker consumes. Orchestrator to CPU workers.',
  },
  'lanes.gpu': {
    partitions: 8,
    retentionMs: DAY_MS,
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['ExecuteActivity'],
    doc: 'Partition: one that the chosen worker consumes. Orchestrator to GPU workers.',
  },
  'lanes.control': {
    partitions: 1,
    retentionMs: DAY_MS / 24,
    compatibility: 'BACKWARD_TRANSITIVE',
    messages: ['StopActivity'],
    doc: 'Key: workflow id. Orchestrator to every worker.',
  },
  'jobs.events': {
    partitions: 8,
    retentionMs: 7 * DAY_MS,
    compatibility: 'FULL_TRANSITIVE',
    messages: ['JobAccepted', 'JobRejected', 'JobStatusChanged', 'JobFinished'],
    doc: 'Key: project id. For anyone.',
  },
  'production.observations': {
    partitions: 8,
    retentionMs: 3 * DAY_MS,
    compatibility: 'FULL_TRANSITIVE',
    messages: ['ObservationRecorded'],
    doc: 'Key: model name. Model servers to the drift monitor.',
  },
  'trainyard.dlq': {
    partitions: 1,
    retentionMs: 30 * DAY_MS,
    compatibility: 'FULL_TRANSITIVE',
    messages: ['DeadLetter'],
    doc: 'Messages that could not be processed, with raw bytes, reason and position.',
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
