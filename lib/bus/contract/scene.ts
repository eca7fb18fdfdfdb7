import { randomUUID } from 'node:crypto';
import { eventually } from '../../../test/support/eventually.ts';
import type { Bus, OutgoingMessage, ReceivedMessage, SubscribeOptions, Subscription } from '../port.ts';
import type { MemberProcess } from './member-process.ts';

/** What an implementation brings to the contract. */
export interface BusUnderTest {
  /** A client with connections of its own, as another process would have. */
  connect(): Promise<Bus>;
  /** A member in a process of its own, which tests stop and kill. */
  spawnMember(options: { groupId: string; topics: readonly string[]; sessionTimeoutMs: number }): MemberProcess;
  /** A session timeout that the implementation accepts and that keeps tests of crashes short. */
  readonly shortSessionMs: number;
  close(): Promise<void>;
}

/** Bound of every wait: generous, since a loaded machine is slow and Kafka rebalances in seconds. */
export const WITHIN_MS = 20_000;

const DAY_MS = 86_400_000;

/** The things of one test: topics and groups with names of their own, and everything that must be closed at its end. */
export class Scene {
  readonly #underTest: BusUnderTest;
  readonly #buses: Bus[] = [];
  readonly #members: MemberProcess[] = [];
  readonly groupId = `group-${randomUUID()}`;

  constructor(underTest: BusUnderTest) {
    this.#underTest = underTest;
  }

  get shortSessionMs(): number {
    return this.#underTest.shortSessionMs;
  }

  async connect(): Promise<Bus> {
    const bus = await this.#underTest.connect();
    this.#buses.push(bus);
    return bus;
  }

  async topic(bus: Bus, partitions: number): Promise<string> {
    const topic = `topic-${randomUUID()}`;
    await bus.ensureTopics([{ topic, partitions, retentionMs: DAY_MS }]);
    return topic;
  }

  subscribe(bus: Bus, topics: readonly string[], options: Partial<SubscribeOptions> = {}): Promise<Subscription> {
    return bus.subscribe({ groupId: this.groupId, from: 'beginning', ...options, topics });
  }

  spawnMember(topics: readonly string[]): MemberProcess {
    const options = { groupId: this.groupId, topics, sessionTimeoutMs: this.shortSessionMs };
    const member = this.#underTest.spawnMember(options);
    this.#members.push(member);
    return member;
  }

  async end(): Promise<void> {
    for (const member of this.#members) member.kill();
    await Promise.all(this.#buses.map((bus) => bus.close()));
  }
}

export const message = (topic: string, key: string, text: string, partition?: number): OutgoingMessage => {
  const value = Buffer.from(text);
  return partition === undefined ? { topic, key, headers: {}, value } : { topic, key, headers: {}, value, partition };
};

export const textOf = (received: ReceivedMessage): string => Buffer.from(received.value).toString();

const idOf = (m: ReceivedMessage): string => `${m.topic}/${m.partition}/${m.offset}`;

/** Polls until `count` different messages have come and returns them in the order of their first arrival. */
export async function receive(
  subscription: Subscription,
  count: number,
  maxMessages = 1_000,
): Promise<ReceivedMessage[]> {
  const received = new Map<string, ReceivedMessage>();
  await eventually(
    async () => {
      for (const m of await subscription.poll({ maxMessages, maxWaitMs: 200 }))
        if (!received.has(idOf(m))) received.set(idOf(m), m);
      if (received.size < count) throw new Error(`${received.size} of ${count} messages have come`);
    },
    { withinMs: WITHIN_MS, everyMs: 0 },
  );
  return [...received.values()];
}

/** Polls all members, dropping what comes, until together they hold `partitions` partitions, each once, and each holds some. */
export async function settle(members: readonly Subscription[], partitions: number): Promise<void> {
  await eventually(
    async () => {
      await Promise.all(members.map((member) => member.poll({ maxMessages: 1, maxWaitMs: 50 })));
      const held = members.map((member) => member.assignment().map((p) => `${p.topic}/${p.partition}`));
      const all = held.flat();
      if (held.some((own) => own.length === 0) || all.length !== partitions || new Set(all).size !== partitions)
        throw new Error(`held: ${JSON.stringify(held)}`);
    },
    { withinMs: WITHIN_MS, everyMs: 0 },
  );
}

/** The position behind a message. */
export const after = (m: ReceivedMessage) => ({ topic: m.topic, partition: m.partition, nextOffset: m.offset + 1 });
