import type { LagRow, OutgoingMessage, Position, ReceivedMessage, TopicPartition, TopicSpec } from '#lib/bus/port.ts';
import { PartitionLostError } from '#lib/bus/port.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import { BrokerGroup, type HeldPartition, type Member, partitionKey } from './broker-group.ts';

/** Largest message, as the port says. */
const MAX_MESSAGE_BYTES = 1_048_576;

/** A client that wants to hear of news. */
export interface Listener {
  readonly groupId: string;
  readonly topics: readonly string[];
  published(): void;
  rebalanced(): void;
}

/** What a member shows with a commit. */
export interface Fence {
  readonly groupId: string;
  readonly memberId: string;
  readonly generation: number;
}

type Routed = OutgoingMessage & { readonly partition: number };

/** The broker's memory: a partitioned log with consumer groups, semantics of Kafka. Every method takes effect at once and whole. */
export class Broker {
  readonly #topics = new Map<string, ReceivedMessage[][]>();
  readonly #groups = new Map<string, BrokerGroup>();
  readonly #listeners = new Set<Listener>();
  readonly #eager: boolean;
  #members = 0;
  /** Called for every message appended, in order. */
  onAppend: (message: ReceivedMessage) => void = () => undefined;
  /** Called for every position that a group stored. */
  onCommit: (groupId: string, positions: readonly Position[]) => void = () => undefined;

  constructor(options: { eager: boolean }) {
    this.#eager = options.eager;
  }

  ensureTopics(specs: readonly TopicSpec[]): void {
    for (const { topic, partitions } of specs) {
      const known = this.#topics.get(topic)?.length ?? partitions;
      if (known !== partitions)
        throw new TrainyardError('StateConflict', `${topic} has ${known} partitions, not ${partitions}`);
    }
    for (const { topic, partitions } of specs)
      if (!this.#topics.has(topic))
        this.#topics.set(
          topic,
          Array.from({ length: partitions }, () => []),
        );
  }

  /** The partition of every message; refuses the whole batch when one cannot be taken. */
  route(messages: readonly OutgoingMessage[]): Routed[] {
    return messages.map((message) => {
      const partitions = this.#partitionsOf(message.topic);
      const partition = message.partition ?? partitionOf(message.key, partitions.length);
      if (partitions[partition] === undefined)
        throw new TrainyardError('ValidationFailed', `${message.topic} has no partition ${partition}`);
      if (message.value.byteLength > MAX_MESSAGE_BYTES)
        throw new TrainyardError('MessageTooLarge', `${message.value.byteLength} bytes`);
      return { ...message, partition };
    });
  }

  append(messages: readonly Routed[]): void {
    const topics = new Set<string>();
    for (const { topic, partition, key, headers, value } of messages) {
      const log = this.#partitionsOf(topic)[partition];
      if (log === undefined) continue;
      const message = { topic, partition, offset: log.length, key, headers, value };
      log.push(message);
      topics.add(topic);
      this.onAppend(message);
    }
    for (const listener of this.#listeners)
      if (listener.topics.some((topic) => topics.has(topic))) listener.published();
  }

  join(groupId: string, member: Omit<Member, 'joinedGeneration' | 'expiresAtMs'>, nowMs: number): void {
    for (const topic of member.topics) this.#partitionsOf(topic);
    const group = this.#group(groupId);
    group.join({ ...member, expiresAtMs: nowMs + member.sessionTimeoutMs }, (topic) =>
      this.#partitionsOf(topic).map((log) => log.length),
    );
    this.#tellGroup(groupId);
  }

  /** Ids are never used twice. */
  newMemberId(groupId: string): string {
    return `${groupId}~${++this.#members}`;
  }

  leave(groupId: string, memberId: string): void {
    if (this.#group(groupId).leave(memberId)) this.#tellGroup(groupId);
  }

  /** Extends the session; the group's generation, or null for a member that was expelled. */
  heartbeat(groupId: string, memberId: string, nowMs: number): number | null {
    const group = this.#group(groupId);
    const member = group.members.get(memberId);
    if (member === undefined) return null;
    member.expiresAtMs = nowMs + member.sessionTimeoutMs;
    return group.generation;
  }

  /** What the broker does by itself from time to time. */
  expireSessions(nowMs: number): void {
    for (const group of this.#groups.values()) if (group.expire(nowMs)) this.#tellGroup(group.groupId);
  }

  /** After an outage everybody is late: all sessions begin anew. */
  renewSessions(nowMs: number): void {
    for (const group of this.#groups.values())
      for (const member of group.members.values()) member.expiresAtMs = nowMs + member.sessionTimeoutMs;
  }

  holding(
    groupId: string,
    memberId: string,
  ): { generation: number; partitions: ReadonlyMap<string, HeldPartition> } | null {
    const group = this.#group(groupId);
    const partitions = group.holding(memberId);
    return partitions === null ? null : { generation: group.generation, partitions };
  }

  /** Messages from the positions on, a fair share of each partition, `max` in all. */
  fetch(positions: readonly Position[], max: number): ReceivedMessage[] {
    const found = positions.map(({ topic, partition, nextOffset }) =>
      (this.#topics.get(topic)?.[partition] ?? []).slice(nextOffset, nextOffset + max),
    );
    const messages: ReceivedMessage[] = [];
    for (let left = max, busy = found.filter((each) => each.length > 0); left > 0 && busy.length > 0; ) {
      const share = Math.max(1, Math.floor(left / busy.length));
      for (const each of busy) {
        const taken = each.splice(0, Math.min(share, left));
        left -= taken.length;
        messages.push(...taken);
      }
      busy = busy.filter((each) => each.length > 0);
    }
    return messages;
  }

  /** Throws `PartitionLostError` and stores nothing when one of the partitions moved on. */
  checkFence(fence: Fence, positions: readonly TopicPartition[]): void {
    const lost = this.#group(fence.groupId).lost(fence.memberId, fence.generation, positions);
    if (lost.length > 0) throw new PartitionLostError(lost);
  }

  storePositions(groupId: string, positions: readonly Position[]): void {
    this.#group(groupId).store(positions);
    this.onCommit(groupId, positions);
  }

  lag(groupId: string): LagRow[] {
    return [...(this.#groups.get(groupId)?.partitions.values() ?? [])].map(({ topic, partition, nextOffset }) => ({
      groupId,
      topic,
      partition,
      nextOffset,
      endOffset: this.#topics.get(topic)?.[partition]?.length ?? 0,
    }));
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tellGroup(groupId: string): void {
    for (const listener of this.#listeners) if (listener.groupId === groupId) listener.rebalanced();
  }

  #group(groupId: string): BrokerGroup {
    const known = this.#groups.get(groupId);
    if (known !== undefined) return known;
    const group = new BrokerGroup(groupId, { eager: this.#eager });
    this.#groups.set(groupId, group);
    return group;
  }

  #partitionsOf(topic: string): ReceivedMessage[][] {
    const partitions = this.#topics.get(topic);
    if (partitions === undefined) throw new TrainyardError('NotFound', `there is no topic ${topic}`);
    return partitions;
  }
}

export { partitionKey };
