import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { Database, sqlState } from '#lib/postgres/database.ts';
import type { Listener } from '#lib/postgres/listening-connection.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { after, message, receive, settle, textOf } from './contract/scene.ts';
import { PartitionLostError, type SubscribeOptions, type TopicPartition } from './port.ts';
import { PostgresBus } from './postgres-bus.ts';
import { Signal } from './signal.ts';

// "What if X happens just before Y?"

let db: TestDatabase;
let bus: PostgresBus;
let topic = '';
let groupId = '';
let tests = 0;

beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
});
beforeEach(async () => {
  topic = `t${++tests}`;
  groupId = `g${tests}`;
  await bus.ensureTopics([{ topic, partitions: 2, retentionMs: 60_000 }]);
});
afterAll(async () => {
  await bus.close();
  await db.drop();
});

const subscribe = (options: Partial<SubscribeOptions> = {}) =>
  bus.subscribe({ groupId, topics: [topic], from: 'beginning', ...options });
const positions = (nextOffset: number) => [0, 1].map((partition) => ({ topic, partition, nextOffset }));
const join = `select bus_join($1, $2, $3, false, 6000)`;

/** Resolves when some statement of this database waits for a lock. */
const somebodyWaits = () =>
  eventually(async () => {
    const { rowCount } = await db.database.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return rowCount > 0;
  });

test('a rebalance comes just before a commit: the commit waits for it and is refused', async () => {
  const member = await subscribe();
  await settle([member], 2);
  let commit: Promise<unknown> = Promise.resolve();
  await db.database.transaction(async (tx) => {
    await tx.query(join, [groupId, 'intruder', [topic]]);
    commit = member.commit(positions(5)).catch((error: unknown) => error);
    await somebodyWaits();
  });
  expect(await commit).toBeInstanceOf(PartitionLostError);
  expect((await bus.lag(groupId)).map((row) => row.nextOffset)).toEqual([0, 0]);
  await member.close();
});

test('a rebalance comes just before a commit and is rolled back: the commit is stored', async () => {
  const member = await subscribe();
  await settle([member], 2);
  let commit: Promise<void> = Promise.resolve();
  const rebalance = db.database.transaction(async (tx) => {
    await tx.query(join, [groupId, 'intruder', [topic]]);
    commit = member.commit(positions(5));
    await somebodyWaits();
    throw new Error('the joining process died');
  });
  await expect(rebalance).rejects.toThrow('died');
  await commit;
  expect((await bus.lag(groupId)).map((row) => row.nextOffset)).toEqual([5, 5]);
  await member.close();
});

test('a commit comes just before a rebalance: the new owner begins behind it', async () => {
  await bus.publish([0, 1].flatMap((p) => ['0', '1', '2'].map((text) => message(topic, 'k', text, p))));
  const member = await subscribe();
  await receive(member, 6);
  let joining: ReturnType<typeof subscribe> | null = null;
  await db.database.transaction(async (tx) => {
    await member.commitIn(tx, positions(2));
    joining = subscribe();
    await somebodyWaits();
  });
  const newcomer = await (joining ?? subscribe());
  const [first] = await receive(newcomer, 1);
  expect(first).toMatchObject({ offset: 2 });
  await Promise.all([member.close(), newcomer.close()]);
});

test('a member is expelled between poll and commit: refused, and it joins again by itself', async () => {
  await bus.publish([message(topic, 'k', '1', 0), message(topic, 'k', '2', 1)]);
  const changes: (readonly TopicPartition[])[][] = [];
  const member = await subscribe({
    onRebalance: ({ assigned, revoked }) => void changes.push([assigned, revoked]),
  });
  const received = await receive(member, 2);
  await db.database.query('select bus_leave($1, $2)', [groupId, member.fence().memberId]);
  await expect(member.commit(received.map(after))).rejects.toBeInstanceOf(PartitionLostError);
  const again = await receive(member, 2);
  expect(again).toEqual(received);
  expect(changes.map(([assigned, revoked]) => [assigned?.length, revoked?.length])).toEqual([
    [2, 0],
    [2, 2],
  ]);
  await member.commit(again.map(after));
  await member.close();
});

test('a partition goes away and comes back between two polls: told as revoked and assigned, the old fence does not pass', async () => {
  await bus.publish([message(topic, 'k', '1', 0), message(topic, 'k', '2', 1)]);
  const changes: number[][] = [];
  const member = await subscribe({
    onRebalance: ({ assigned, revoked }) => void changes.push([assigned.length, revoked.length]),
  });
  await receive(member, 2);
  await db.database.query(join, [groupId, 'guest', [topic]]);
  await db.database.query('select bus_leave($1, $2)', [groupId, 'guest']);
  await expect(member.commit(positions(1))).rejects.toMatchObject({ partitions: [{ topic, partition: 1 }] });
  await receive(member, 1);
  expect(changes).toEqual([
    [2, 0],
    [1, 1],
  ]);
  await member.commit(positions(1));
  await member.close();
});

test('a producer has appended but not committed when the next one publishes: the reader sees both, in order, or none', async () => {
  const member = await subscribe();
  let second: Promise<void> = Promise.resolve();
  await db.database.transaction(async (tx) => {
    await bus.publishIn(tx, [message(topic, 'k', 'first', 0)]);
    second = bus.publish([message(topic, 'k', 'second', 0)]);
    await somebodyWaits();
    expect(await member.poll({ maxMessages: 10, maxWaitMs: 0 })).toEqual([]);
  });
  await second;
  expect((await receive(member, 2)).map(textOf)).toEqual(['first', 'second']);
  await member.close();
});

test('a notification comes between an empty fetch and the wait: the wait does not begin', async () => {
  const signal = new Signal();
  const seen = signal.version;
  signal.notify();
  expect(await signal.wait(seen, 60_000)).toBe(true);
  expect(await signal.wait(signal.version, 1)).toBe(false);
});

test('a partition is paused while its messages are on their way: they are kept for later', async () => {
  await bus.publish([message(topic, 'k', '1', 0)]);
  const member = await subscribe();
  await settle([member], 2);
  await member.rewind();
  await member.poll({ maxMessages: 10, maxWaitMs: 0 });
  await bus.publish([message(topic, 'k', '2', 0)]);
  const polling = member.poll({ maxMessages: 10, maxWaitMs: 0 });
  member.pause([{ topic, partition: 0 }]);
  expect(await polling).toEqual([]);
  member.resume([{ topic, partition: 0 }]);
  expect((await receive(member, 1)).map(textOf)).toEqual(['2']);
  await member.close();
});

test('close comes while a poll waits or a join is under way: both end, no member is left behind', async () => {
  const member = await subscribe();
  await settle([member], 2);
  const waiting = member.poll({ maxMessages: 1, maxWaitMs: 30_000 });
  await member.close();
  expect(await waiting).toEqual([]);
  const other = await subscribe();
  await db.database.query('select bus_leave($1, $2)', [groupId, (await settle([other], 2), other.fence().memberId)]);
  await other.rewind();
  const rejoining = other.poll({ maxMessages: 1, maxWaitMs: 0 });
  await Promise.all([other.close(), rejoining]);
  expect((await db.database.query('select from bus_members where group_id = $1', [groupId])).rowCount).toBe(0);
});

test('the callback of a rebalance fails: poll says so, and the next poll tells the change again', async () => {
  let calls = 0;
  const member = await subscribe({
    onRebalance: () => {
      if (++calls === 1) throw new Error('cannot load the state');
    },
  });
  await expect(member.poll({ maxMessages: 1, maxWaitMs: 0 })).rejects.toThrow('cannot load the state');
  expect(member.assignment()).toEqual([]);
  await settle([member], 2);
  expect(calls).toBe(2);
  await member.close();
});

test('everybody is late after an outage of the database: the first heartbeat expels nobody, the second those still silent', async () => {
  for (const name of ['x', 'y', 'z']) await db.database.query(join, [groupId, name, [topic]]);
  await db.database.query('update bus_members set expires_at_ms = 1 where group_id = $1', [groupId]);
  const members = async (): Promise<unknown[]> =>
    (await db.database.query('select member_id from bus_members where group_id = $1 order by 1', [groupId])).rows;
  await db.database.query('select bus_heartbeat($1, $2)', [groupId, 'x']);
  await db.database.query('select bus_heartbeat($1, $2)', [groupId, 'y']);
  expect(await members()).toHaveLength(2 + 1);
  await db.database.query('select bus_heartbeat($1, $2)', [groupId, 'x']);
  expect(await members()).toEqual([{ member_id: 'x' }, { member_id: 'y' }]);
});

test('more partitions are busy than a poll may return: none starves', async () => {
  await bus.ensureTopics([{ topic: `${topic}-wide`, partitions: 12, retentionMs: 60_000 }]);
  const member = await subscribe({ topics: [`${topic}-wide`] });
  await bus.publish(Array.from({ length: 240 }, (_, i) => message(`${topic}-wide`, 'k', `${i}`, i % 12)));
  const early = await receive(member, 40, 3);
  expect(new Set(early.map((m) => m.partition)).size).toBe(12);
  await member.close();
});

const terminate = (applicationName: string) =>
  db.database.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where application_name like $1 and datname = current_database() and pid <> pg_backend_pid()',
    [applicationName],
  );

test('the connection that listens is cut: nothing is missed, and wake-ups are quick again', async () => {
  const member = await subscribe();
  await settle([member], 2);
  const waiting = member.poll({ maxMessages: 10, maxWaitMs: 20_000 });
  expect((await terminate('test:listen')).rowCount).toBeGreaterThan(0);
  // The first try may be the statement that is cut.
  await eventually(() => bus.publish([message(topic, 'k', 'while deaf')]));
  expect((await waiting).map(textOf)).toEqual(['while deaf']);
  await eventually(async () => {
    const { rowCount } = await db.database.query(
      `select from pg_stat_activity where application_name = 'test:listen' and datname = current_database()`,
    );
    return rowCount > 0;
  });
  const next = member.poll({ maxMessages: 10, maxWaitMs: 20_000 });
  const began = performance.now();
  await bus.publish([message(topic, 'k', 'heard')]);
  expect((await next).map(textOf)).toEqual(['heard']);
  expect(performance.now() - began).toBeLessThan(1_000);
  await member.close();
});

test('every connection is cut while a poll waits: the poll lives on and gets what comes later', async () => {
  const member = await subscribe();
  await settle([member], 2);
  const waiting = receive(member, 1);
  await terminate('test%');
  await eventually(() => bus.publish([message(topic, 'k', 'later')]));
  expect((await waiting).map(textOf)).toEqual(['later']);
  await member.close();
});

test('no notification ever arrives: a waiting poll finds the message by itself, and an idle one asks about once a second', async () => {
  let queries = 0;
  class DeafDatabase extends Database {
    override listen(): Listener {
      return { close: async () => undefined };
    }
    override async query<Row>(...args: Parameters<Database['query']>) {
      queries++;
      return super.query<Row>(...args);
    }
  }
  const database = new DeafDatabase({ url: db.url, applicationName: 'deaf' });
  const deaf = new PostgresBus({ database, retentionIntervalMs: 0 });
  const member = await deaf.subscribe({ groupId, topics: [topic], from: 'end' });
  await settle([member], 2);
  queries = 0;
  expect(await member.poll({ maxMessages: 1, maxWaitMs: 1_500 })).toEqual([]);
  expect(queries).toBeLessThan(10);
  const waiting = member.poll({ maxMessages: 1, maxWaitMs: 20_000 });
  await bus.publish([message(topic, 'k', 'found')]);
  const began = performance.now();
  expect((await waiting).map(textOf)).toEqual(['found']);
  expect(performance.now() - began).toBeLessThan(3_000);
  await deaf.close();
  await database.close();
});

test('members come and go while others commit and publish in one transaction: every message takes effect exactly once', async () => {
  const seed = Date.now() % 100_000;
  const random = mulberry32(seed);
  const out = `${topic}-out`;
  const wide = `${topic}-in`;
  await bus.ensureTopics([wide, out].map((t) => ({ topic: t, partitions: 8, retentionMs: 60_000 })));
  const COUNT = 600;
  await bus.publish(Array.from({ length: COUNT }, (_, i) => message(wide, `k${i % 40}`, `${i}`)));
  const work = new AbortController();
  const member = async (): Promise<void> => {
    while (!work.signal.aborted) {
      const subscription = await subscribe({ topics: [wide] });
      for (let turns = 1 + Math.floor(random.next() * 6); turns > 0 && !work.signal.aborted; turns--) {
        const batch = await subscription.poll({ maxMessages: 10, maxWaitMs: 20 });
        const last = new Map(batch.map((m) => [m.partition, after(m)]));
        await db.database
          .transaction(async (tx) => {
            await subscription.commitIn(tx, [...last.values()]);
            await bus.publishIn(
              tx,
              batch.map((m) => message(out, m.key ?? '', textOf(m))),
            );
          })
          .catch((error: unknown) => {
            // A deadlock (40P01) would be one of ours: the lock order is wrong.
            if (!(error instanceof PartitionLostError))
              throw new Error(`seed ${seed}: ${sqlState(error)}`, { cause: error });
          });
      }
      await subscription.close();
    }
  };
  const done = eventually(
    async () => {
      const lag = await bus.lag(groupId);
      const left = lag.reduce((sum, row) => sum + row.endOffset - row.nextOffset, 0);
      if (left > 0 || lag.length === 0) throw new Error(`seed ${seed}: ${left} left`);
    },
    { withinMs: 30_000, everyMs: 50 },
  ).finally(() => {
    work.abort();
  });
  await Promise.all([done, member(), member(), member()]);
  const reader = await subscribe({ topics: [out], groupId: `${groupId}-reader` });
  const results = (await receive(reader, COUNT)).map((m) => Number(textOf(m)));
  expect(await reader.poll({ maxMessages: 10, maxWaitMs: 0 })).toEqual([]);
  expect(results.sort((a, b) => a - b)).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  await reader.close();
});
