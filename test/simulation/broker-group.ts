import type { Position, TopicPartition } from '#lib/bus/port.ts';

/** Partitions of a group by topic and number; `nextOffset` is the committed position. */
export interface HeldPartition extends Position {
  memberId: string | null;
  /** Generation that gave the partition to its member. */
  since: number;
  nextOffset: number;
}

export interface Member {
  readonly memberId: string;
  readonly topics: readonly string[];
  readonly fromEnd: boolean;
  readonly sessionTimeoutMs: number;
  readonly instanceId: string | null;
  readonly joinedGeneration: number;
  expiresAtMs: number;
}

export const partitionKey = (p: TopicPartition): string => `${p.topic}/${p.partition}`;

/**
 * One consumer group as the broker keeps it: members, generation, owners and positions. Sticky: a member keeps what it has up to its quota; a
 * partition number goes to one member for all topics (BUS-5). Eager, as kafkajs does it: at every rebalance everything is taken away and given anew.
 */
export class BrokerGroup {
  readonly groupId: string;
  readonly #eager: boolean;
  readonly members = new Map<string, Member>();
  readonly partitions = new Map<string, HeldPartition>();
  generation = 0;

  constructor(groupId: string, options: { eager: boolean }) {
    this.groupId = groupId;
    this.#eager = options.eager;
  }

  /** Adds a member; one of the same instance makes room. `ends` answers the end of every partition of a topic. */
  join(member: Omit<Member, 'joinedGeneration'>, ends: (topic: string) => readonly number[]): void {
    if (member.instanceId !== null)
      for (const other of this.members.values())
        if (other.instanceId === member.instanceId) this.members.delete(other.memberId);
    this.members.set(member.memberId, { ...member, joinedGeneration: this.generation + 1 });
    for (const topic of member.topics)
      for (const [partition, end] of ends(topic).entries()) {
        const key = partitionKey({ topic, partition });
        // A position is stored at once: where a group begins does not depend on when it commits first.
        if (!this.partitions.has(key))
          this.partitions.set(key, {
            topic,
            partition,
            nextOffset: member.fromEnd ? end : 0,
            memberId: null,
            since: 0,
          });
      }
    this.rebalance();
  }

  leave(memberId: string): boolean {
    if (!this.members.delete(memberId)) return false;
    this.rebalance();
    return true;
  }

  /** Removes members whose session ran out; true when there were some. */
  expire(nowMs: number): boolean {
    let expired = false;
    for (const member of this.members.values())
      if (member.expiresAtMs < nowMs) expired = this.members.delete(member.memberId) || expired;
    if (expired) this.rebalance();
    return expired;
  }

  /** What the member holds, or null when it is none (any more). */
  holding(memberId: string): ReadonlyMap<string, HeldPartition> | null {
    if (!this.members.has(memberId)) return null;
    const held = new Map<string, HeldPartition>();
    for (const [key, partition] of this.partitions)
      if (partition.memberId === memberId) held.set(key, { ...partition });
    return held;
  }

  /** Of these partitions, those that the member does not hold since a generation it has seen. */
  lost(memberId: string, generation: number, positions: readonly TopicPartition[]): TopicPartition[] {
    return positions.flatMap(({ topic, partition }) => {
      const held = this.partitions.get(partitionKey({ topic, partition }));
      return held?.memberId === memberId && held.since <= generation ? [] : [{ topic, partition }];
    });
  }

  /** A position never moves back. */
  store(positions: readonly Position[]): void {
    for (const position of positions) {
      const held = this.partitions.get(partitionKey(position));
      if (held !== undefined) held.nextOffset = Math.max(held.nextOffset, position.nextOffset);
    }
  }

  rebalance(): void {
    this.generation += 1;
    const members = [...this.members.values()].sort((a, b) => a.joinedGeneration - b.joinedGeneration);
    const owners = this.#ownersOfNumbers(members);
    for (const held of this.partitions.values()) {
      const owner = members.find((m) => m.memberId === owners.get(held.partition));
      const interested = members.filter((m) => m.topics.includes(held.topic));
      const next = owner?.topics.includes(held.topic)
        ? owner.memberId
        : (interested[held.partition % Math.max(1, interested.length)]?.memberId ?? null);
      if (next === held.memberId && !this.#eager) continue;
      held.memberId = next;
      held.since = this.generation;
    }
  }

  /** Numbers stay with their member up to its quota; the others go to those with room, in the order of joining. */
  #ownersOfNumbers(members: readonly Member[]): Map<number, string> {
    const keepers = new Map<number, string | null>();
    for (const { topic, partition, memberId } of this.partitions.values()) {
      if (!members.some((m) => m.topics.includes(topic))) continue;
      const keeper = memberId !== null && this.members.has(memberId) ? memberId : (keepers.get(partition) ?? null);
      keepers.set(partition, keeper);
    }
    const numbers = [...keepers.keys()].sort((a, b) => a - b);
    const has = (m: Member): number => numbers.filter((n) => keepers.get(n) === m.memberId).length;
    const ranked = members
      .map((member) => ({ member, has: has(member) }))
      .sort((a, b) => b.has - a.has || a.member.joinedGeneration - b.member.joinedGeneration);
    const owners = new Map<number, string>();
    const room: string[] = [];
    for (const [rank, { member }] of ranked.entries()) {
      const quota = Math.floor(numbers.length / ranked.length) + (rank < numbers.length % ranked.length ? 1 : 0);
      const kept = numbers.filter((n) => keepers.get(n) === member.memberId).slice(0, quota);
      for (const number of kept) owners.set(number, member.memberId);
      for (let free = kept.length; free < quota; free++) room.push(member.memberId);
    }
    for (const number of numbers) {
      if (owners.has(number)) continue;
      const memberId = room.shift();
      if (memberId !== undefined) owners.set(number, memberId);
    }
    return owners;
  }
}
