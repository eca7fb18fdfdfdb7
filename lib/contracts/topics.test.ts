import { describe, expect, it } from 'vitest';
import { MESSAGE_SCHEMAS } from './generated/messages.ts';
import { TOPICS, topicSpecs, WORKFLOW_PARTITIONS } from './topics.ts';

const topics = Object.entries(TOPICS);

describe('topics', () => {
  it('carry every message type, each on the topics of one direction', () => {
    const carried = topics.flatMap(([, topic]) => topic.messages as readonly string[]);
    expect(new Set(carried)).toEqual(new Set(Object.keys(MESSAGE_SCHEMAS)));
  });

  it('that are keyed by workflow and folded by a shard have the same partitions', () => {
    for (const name of ['orchestrator.commands', 'activities.events'] as const)
      expect(TOPICS[name].partitions).toBe(WORKFLOW_PARTITIONS);
  });

  it('keep undelivered work longer than a weekend, and dead letters longest', () => {
    expect(TOPICS['activities.events'].retentionMs).toBeGreaterThanOrEqual(3 * 86_400_000);
    expect(Math.max(...topics.map(([, t]) => t.retentionMs))).toBe(TOPICS['trainyard.dlq'].retentionMs);
  });

  it('are all made at start', () => {
    expect(topicSpecs().map((spec) => spec.topic)).toEqual(topics.map(([name]) => name));
  });
});
