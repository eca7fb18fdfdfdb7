import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { Database } from '#lib/postgres/database.ts';
import type { OutgoingMessage } from '../port.ts';
import { createTestDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { addressOf, peer } from '../../../test/support/peers/peer.ts';
import { busContract } from '../bus.contract.ts';
import { MemberProcess } from '../contract/member-process.ts';
import { message, receive, settle, textOf } from '../contract/scene.ts';
import { KafkaBus } from './kafka-bus.ts';

const kafka = await peer('kafka');
const url = (): string => `kafka://${addressOf(kafka).brokers.join(',')}`;

const connect = (database: Database, producer: string = randomUUID(), prefix = ''): Promise<KafkaBus> =>
  KafkaBus.connect({ url: url(), clientId: 'bus-test', producer, database, prefix, replication: null });

busContract(
  'KafkaBus',
  async () => {
    const db = await createTestDatabase();
    const databases: Database[] = [];
    return {
      connect: async () => {
        const database = new Database({ url: db.url, applicationName: 'bus-contract', maxConnections: 2 });
        databases.push(database);
        return connect(database);
      },
      spawnMember: (options) =>
        new MemberProcess(new URL('../contract/kafka-member.ts', import.meta.url), {
          url: url(),
          ...options,
          databaseUrl: db.url,
        }),
      shortSessionMs: 1_500,
      close: async () => {
        await Promise.all(databases.map((database) => database.close()));
        await db.drop();
      },
    };
  },
  { skip: !kafka.available },
);

/** One topic and two clients of one database. */
async function pair(
  run: (scene: { bus: KafkaBus; other: KafkaBus; topic: string; database: Database }) => Promise<void>,
) {
  const db = await createTestDatabase();
  const [bus, other] = [await connect(db.database), await connect(db.database)];
  const topic = `topic-${randomUUID()}`;
  await bus.ensureTopics([{ topic, partitions: 2, retentionMs: 3_600_000 }]);
  try {
    await run({ bus, other, topic, database: db.database });
  } finally {
    await Promise.all([bus.close(), other.close()]);
    await db.drop();
  }
}

const rows = async (database: Database): Promise<number> =>
  (await database.query<{ n: number }>('select count(*)::int as n from outbox')).rows[0]?.n ?? 0;

test.skipIf(!kafka.available)(
  'a message of a transaction appears when that commits, and never when it is rolled back',
  () =>
    pair(async ({ bus, topic, database }) => {
      const reader = await bus.subscribe({ groupId: randomUUID(), topics: [topic], from: 'beginning' });
      await expect(
        database.transaction(async (tx) => {
          await bus.publishIn(tx, [message(topic, 'k', 'undone')]);
          throw new Error('rolled back');
        }),
      ).rejects.toThrow('rolled back');
      await database.transaction((tx) => bus.publishIn(tx, [message(topic, 'k', 'done')]));
      expect((await receive(reader, 1)).map(textOf)).toEqual(['done']);
      await eventually(async () => expect(await rows(database)).toBe(0));
    }),
);

/** A process whose row is committed, and which never publishes it: as if it had died at the commit. */
async function commitAndDie(database: Database, messages: readonly OutgoingMessage[]): Promise<void> {
  const dead = await connect(database, 'dead');
  const [first] = messages;
  const { calls } = await dead.partsOf({
    subscription: await dead.subscribe({ groupId: randomUUID(), topics: [first?.topic ?? ''], from: 'end' }),
    positions: [],
    messages,
  });
  const [append] = calls;
  await dead.close();
  await database.query(`select ${append?.call}($1, $2, $3, $4, $5, $6, $7, $8)`, append?.parameters);
}

test.skipIf(!kafka.available)(
  'in order: a message comes after what a dead process had committed for its key, and does not wait for others',
  () =>
    pair(async ({ bus, topic, database }) => {
      const reader = await bus.subscribe({ groupId: randomUUID(), topics: [topic], from: 'beginning' });
      await commitAndDie(database, [message(topic, 'other', 'of another key'), message(topic, 'k', 'start')]);
      await database.transaction((tx) => bus.publishIn(tx, [message(topic, 'k', 'cancel')], { inOrder: true }));
      expect((await receive(reader, 2)).map(textOf)).toEqual(['start', 'cancel']);
    }),
);

test.skipIf(!kafka.available)(
  'what a process committed and could not publish before it died, another one publishes',
  () =>
    pair(async ({ other, topic, database }) => {
      await commitAndDie(database, [message(topic, 'k', 'left behind')]);
      const reader = await other.subscribe({ groupId: randomUUID(), topics: [topic], from: 'beginning' });
      expect((await receive(reader, 1)).map(textOf)).toEqual(['left behind']);
      await eventually(async () => expect(await rows(database)).toBe(0));
    }),
);

test.skipIf(!kafka.available)(
  'a statement that failed takes back its messages; one that was committed stores its positions soon after',
  () =>
    pair(async ({ bus, topic }) => {
      const groupId = randomUUID();
      const subscription = await bus.subscribe({ groupId, topics: [topic], from: 'beginning' });
      await settle([subscription], 2);
      await bus.publish([message(topic, 'k', 'first', 0)]);
      await receive(subscription, 1);
      const positions = [{ topic, partition: 0, nextOffset: 1 }];
      const failed = await bus.partsOf({ subscription, positions, messages: [message(topic, 'k', 'undone', 1)] });
      failed.settle(false);
      const committed = await bus.partsOf({ subscription, positions, messages: [message(topic, 'k', 'said', 1)] });
      committed.settle(true);
      expect((await receive(subscription, 1)).map(textOf)).toEqual(['said']);
      await eventually(async () => expect((await bus.lag(groupId))[0]).toMatchObject({ nextOffset: 1, endOffset: 1 }));
    }),
);

test.skipIf(!kafka.available)(
  'a member with a name that is killed and started again has its partitions back long before its session is over',
  () =>
    pair(async ({ bus, other, topic }) => {
      const groupId = randomUUID();
      const options = {
        groupId,
        topics: [topic],
        from: 'beginning' as const,
        instanceId: 'named',
        sessionTimeoutMs: 30_000,
      };
      const former = await bus.subscribe(options);
      await settle([former], 2);
      // No word to the group: the broker keeps its place for 30 s, and gives it to whoever has its name.
      const began = performance.now();
      const reborn = await other.subscribe(options);
      await settle([reborn], 2);
      expect(performance.now() - began).toBeLessThan(10_000);
    }),
);

test.skipIf(!kafka.available)('platforms with different prefixes share a cluster without seeing each other', () =>
  pair(async ({ database }) => {
    const [red, blue] = [
      await connect(database, randomUUID(), `red-${randomUUID()}.`),
      await connect(database, randomUUID(), `blue-${randomUUID()}.`),
    ];
    try {
      const specs = [{ topic: 'same.name', partitions: 1, retentionMs: 3_600_000 }];
      await Promise.all([red.ensureTopics(specs), blue.ensureTopics(specs)]);
      await red.publish([message('same.name', 'k', 'red')]);
      await blue.publish([message('same.name', 'k', 'blue')]);
      const reader = await blue.subscribe({ groupId: 'same-group', topics: ['same.name'], from: 'beginning' });
      const [only] = await receive(reader, 1);
      expect([only?.topic, only === undefined ? '' : textOf(only)]).toEqual(['same.name', 'blue']);
    } finally {
      await Promise.all([red.close(), blue.close()]);
    }
  }),
);

test.skipIf(!kafka.available)('an idle client sets no timer of a millisecond over and over', () =>
  pair(async ({ bus, topic }) => {
    const subscription = await bus.subscribe({ groupId: randomUUID(), topics: [topic], from: 'end' });
    await settle([subscription], 2);
    const original = globalThis.setTimeout;
    let short = 0;
    globalThis.setTimeout = ((callback: () => void, ms?: number, ...args: unknown[]) => {
      if ((ms ?? 0) <= 1) short++;
      return original(callback, ms, ...(args as []));
    }) as typeof setTimeout;
    try {
      await subscription.poll({ maxMessages: 1, maxWaitMs: 1_000 });
    } finally {
      globalThis.setTimeout = original;
    }
    // 3,000 a second without the guard (facts of the design).
    expect(short).toBeLessThan(50);
  }),
);
