import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { after, message, receive, settle, textOf } from './contract/scene.ts';
import { encodePositions } from './message-arrays.ts';
import { PartitionLostError } from './port.ts';
import { PostgresBus } from './postgres-bus.ts';

let db: TestDatabase;
let bus: PostgresBus;
let topics = 0;

beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  await db.database.query('create table side_effects (name text primary key)');
});
afterAll(async () => {
  await bus.close();
  await db.drop();
});

async function newTopic(partitions: number): Promise<string> {
  const topic = `t${++topics}`;
  await bus.ensureTopics([{ topic, partitions, retentionMs: 60_000 }]);
  return topic;
}

const subscribe = (topic: string, groupId = `g-${topic}`) =>
  bus.subscribe({ groupId, topics: [topic], from: 'beginning' });

test('publishIn of a transaction that is rolled back publishes nothing and leaves no gap', async () => {
  const topic = await newTopic(1);
  await expect(
    db.database.transaction(async (tx) => {
      await bus.publishIn(tx, [message(topic, 'k', 'never'), message(topic, 'k', 'never')]);
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  await db.database.transaction((tx) => bus.publishIn(tx, [message(topic, 'k', 'yes')]));
  const subscription = await subscribe(topic);
  const [first] = await receive(subscription, 1);
  expect(first).toMatchObject({ offset: 0 });
  expect(await subscription.poll({ maxMessages: 10, maxWaitMs: 0 })).toEqual([]);
  await subscription.close();
});

test('publishIn needs no connection besides that of its transaction', async () => {
  const topic = await newTopic(1);
  const database = new Database({ url: db.url, applicationName: 'single', maxConnections: 1, connectTimeoutMs: 1_000 });
  const fresh = new PostgresBus({ database, retentionIntervalMs: 0 });
  await database.transaction((tx) => fresh.publishIn(tx, [message(topic, 'k', 'v')]));
  expect(await db.database.query('select from bus_messages where topic = $1', [topic])).toMatchObject({ rowCount: 1 });
  await fresh.close();
  await database.close();
});

test('commitIn is stored with the other writes of its transaction, or not at all', async () => {
  const topic = await newTopic(1);
  await bus.publish([message(topic, 'k', '1'), message(topic, 'k', '2')]);
  const subscription = await subscribe(topic);
  const [first, second] = await receive(subscription, 2);
  const work = (name: string, fails: boolean, position = first) =>
    db.database.transaction(async (tx) => {
      await subscription.commitIn(tx, position === undefined ? [] : [after(position)]);
      await tx.query('insert into side_effects values ($1)', [name]);
      await bus.publishIn(tx, [message(topic, 'k', name)]);
      if (fails) throw new Error('no');
    });
  await expect(work('fails', true, second)).rejects.toThrow('no');
  expect(await bus.lag(`g-${topic}`)).toMatchObject([{ nextOffset: 0, endOffset: 2 }]);
  await work('passes', false);
  expect(await bus.lag(`g-${topic}`)).toMatchObject([{ nextOffset: 1, endOffset: 3 }]);
  const { rows } = await db.database.query('select name from side_effects order by 1');
  expect(rows).toEqual([{ name: 'passes' }]);
  await subscription.close();
});

test('a fenced commitIn undoes the whole transaction', async () => {
  const topic = await newTopic(1);
  await bus.publish([message(topic, 'k', '1')]);
  const old = await subscribe(topic);
  const [first] = await receive(old, 1);
  const fence = old.fence();
  await old.close();
  const heir = await subscribe(topic);
  await settle([heir], 1);
  await expect(
    db.database.transaction(async (tx) => {
      await tx.query('insert into side_effects values ($1)', ['zombie']);
      await old.commitIn(tx, first === undefined ? [] : [after(first)]);
    }),
  ).rejects.toBeInstanceOf(PartitionLostError);
  expect((await db.database.query(`select from side_effects where name = 'zombie'`)).rowCount).toBe(0);
  await expect(
    db.database.query('select bus_commit($1, $2, $3, $4, $5, $6)', [
      fence.groupId,
      fence.memberId,
      fence.generation,
      ...encodePositions([{ topic, partition: 0, nextOffset: 1 }]),
    ]),
  ).rejects.toMatchObject({ code: 'TY001', detail: `[["${topic}", 0]]` });
  await heir.close();
});

test('a committed position never moves backwards', async () => {
  const topic = await newTopic(1);
  await bus.publish([message(topic, 'k', '1'), message(topic, 'k', '2')]);
  const subscription = await subscribe(topic);
  await receive(subscription, 2);
  await subscription.commit([{ topic, partition: 0, nextOffset: 2 }]);
  await subscription.commit([{ topic, partition: 0, nextOffset: 1 }]);
  expect(await bus.lag(`g-${topic}`)).toMatchObject([{ nextOffset: 2 }]);
  await subscription.close();
});

test('four producers with rollbacks in between leave no gap, and a reader beside them sees every offset in turn', async () => {
  const topic = await newTopic(3);
  const produce = async (producer: number): Promise<number> => {
    let published = 0;
    for (let i = 0; i < 40; i++) {
      const count = 1 + ((i * 7 + producer) % 5);
      // Partitions in another order each time: a producer that locked in array order would deadlock.
      const batch = Array.from({ length: count }, (_, j) => message(topic, 'k', `${i}`, (i + producer + 2 * j) % 3));
      const fails = (i + producer) % 4 === 0;
      const done = db.database.transaction(async (tx) => {
        await bus.publishIn(tx, batch);
        if (fails) throw new Error('rolled back');
      });
      published += await done.then(
        () => count,
        () => 0,
      );
      if (!fails) await done;
    }
    return published;
  };
  const subscription = await subscribe(topic);
  const next = [0, 0, 0];
  let seen = 0;
  let total = Number.POSITIVE_INFINITY;
  const read = async (): Promise<void> => {
    while (seen < total)
      for (const m of await subscription.poll({ maxMessages: 20, maxWaitMs: 50 })) {
        expect(m.offset).toBe(next[m.partition]);
        next[m.partition] = m.offset + 1;
        seen++;
      }
  };
  const produced = Promise.all([0, 1, 2, 3].map(produce)).then((counts) => {
    total = counts.reduce((a, b) => a + b, 0);
  });
  await Promise.all([produced, read()]);
  expect(seen).toBe(total);
  await subscription.close();
});

test('publishes made at once share statements, keep the order of their calls, and fail alone', async () => {
  const topic = await newTopic(1);
  const large = { ...message(topic, 'k', ''), value: new Uint8Array(2_000_000) };
  // Has not seen the topic yet: the first call looks it up, the others must not pass it.
  const fresh = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  const results = await Promise.allSettled([
    ...Array.from({ length: 50 }, (_, i) => fresh.publish([message(topic, 'k', `${i}`)])),
    fresh.publish([large]),
    fresh.publish([message(topic, 'k\0', 'NUL')]),
  ]);
  await fresh.close();
  expect(results.map((r) => r.status).filter((status) => status === 'rejected')).toHaveLength(2);
  const subscription = await subscribe(topic);
  const received = await receive(subscription, 50);
  expect(received.map(textOf)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
  const { rows } = await db.database.query<{ count: number }>(
    'select count(distinct xmin::text) from bus_messages where topic = $1',
    [topic],
  );
  expect(rows[0]?.count).toBeLessThan(10);
  await subscription.close();
});

test('a poll returns 8 MiB and one message per partition at most, however many it may', async () => {
  const topic = await newTopic(2);
  const value = new Uint8Array(900_000);
  for (let i = 0; i < 16; i++) await bus.publish([{ ...message(topic, 'k', '', i % 2), value }]);
  const subscription = await subscribe(topic);
  const batch = await subscription.poll({ maxMessages: 1_000, maxWaitMs: 1_000 });
  expect(batch.length).toBeGreaterThan(2);
  expect(batch.length * value.length).toBeLessThan(8 * 1_048_576 + 2 * value.length);
  expect(await receive(subscription, 16 - batch.length)).toHaveLength(16 - batch.length);
  await subscription.close();
});

test('messages past their retention are deleted from the front, by one process at a time, and readers go on behind them', async () => {
  const topic = await newTopic(2);
  await bus.publish(Array.from({ length: 3_000 }, (_, i) => message(topic, 'k', `${i}`, 0)));
  await db.database.query('update bus_messages set appended_at_ms = 1000 where topic = $1 and "offset" < 2500', [
    topic,
  ]);
  const other = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  const deleted = await Promise.all([bus.expire(61_001), other.expire(61_001)]);
  const rest = await bus.expire(61_001);
  expect(deleted[0] + deleted[1] + rest).toBe(2_500);
  expect(await bus.expire(61_001)).toBe(0);
  const subscription = await subscribe(topic);
  const received = await receive(subscription, 500);
  expect(received[0]).toMatchObject({ offset: 2_500 });
  await bus.publish([message(topic, 'k', 'next', 0)]);
  expect(await receive(subscription, 1)).toMatchObject([{ offset: 3_000 }]);
  await Promise.all([subscription.close(), other.close()]);
});

test('a reader whose position is older than everything kept goes on with the oldest message', async () => {
  const topic = await newTopic(1);
  await bus.publish(Array.from({ length: 10 }, (_, i) => message(topic, 'k', `${i}`)));
  const subscription = await subscribe(topic);
  await receive(subscription, 10);
  await subscription.commit([{ topic, partition: 0, nextOffset: 2 }]);
  await db.database.query('update bus_messages set appended_at_ms = 1000 where topic = $1 and "offset" < 6', [topic]);
  expect(await bus.expire(61_001)).toBe(6);
  await subscription.rewind();
  expect((await receive(subscription, 4)).map((m) => m.offset)).toEqual([6, 7, 8, 9]);
  await subscription.close();
});

test('the timer deletes without anybody asking', async () => {
  const topic = await newTopic(1);
  await bus.publish([message(topic, 'k', 'old')]);
  await db.database.query('update bus_messages set appended_at_ms = 1000 where topic = $1', [topic]);
  const other = new PostgresBus({ database: db.database, retentionIntervalMs: 20 });
  const kept = async () => (await db.database.query('select from bus_messages where topic = $1', [topic])).rowCount;
  await eventually(async () => expect(await kept()).toBe(0));
  await other.close();
});

test('without a database publish, commit, lag and check fail with ServiceUnavailable', async () => {
  const database = new Database({ url: 'postgres://x@127.0.0.1:1/x', applicationName: 'nowhere' });
  const lost = new PostgresBus({ database });
  const unavailable = { code: 'ServiceUnavailable' };
  await expect(lost.publish([message('t', 'k', 'v')])).rejects.toMatchObject(unavailable);
  await expect(lost.lag('g')).rejects.toMatchObject(unavailable);
  await expect(lost.check()).rejects.toMatchObject(unavailable);
  await expect(lost.subscribe({ groupId: 'g', topics: ['t'], from: 'end' })).rejects.toMatchObject(unavailable);
  await lost.close();
  await database.close();
});
