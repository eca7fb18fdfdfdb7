import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Queryable } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { message, settle } from './contract/scene.ts';
import { FETCH } from './fetch.ts';
import { PostgresBus } from './postgres-bus.ts';

const TOPICS = ['activities', 'commands', 'lanes', 'workers'];
const PARTITIONS = 16;
const PER_PARTITION = 3_200;

let db: TestDatabase;
let bus: PostgresBus;

// 204,800 messages, statistics as autovacuum would have them.
beforeAll(async () => {
  db = await createTestDatabase();
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  await bus.ensureTopics(TOPICS.map((topic) => ({ topic, partitions: PARTITIONS, retentionMs: 86_400_000 })));
  await db.database.query(
    `insert into bus_messages ("offset", appended_at_ms, partition, topic, key, headers, value)
     select i, bus_now_ms(), h.partition, h.topic, 'key', '{}', 'body'
     from bus_heads h, generate_series(0, ${PER_PARTITION - 1}) i`,
  );
  await db.database.query(`update bus_heads set next_offset = ${PER_PARTITION}`);
  await db.database.query('vacuum analyze');
});
afterAll(async () => {
  await bus.close();
  await db.drop();
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly PlanNode[];
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

async function planOfFetch(from: number, maxMessages: number): Promise<PlanNode[]> {
  return db.database.transaction(async (tx) => {
    const partitions = TOPICS.flatMap((topic) => Array.from({ length: PARTITIONS }, (_, p) => ({ topic, p })));
    await tx.query(`prepare fetch_plan (text[], int4[], int8[], int8, int8) as ${FETCH.text}`);
    const { rows } = await tx.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
      `explain (analyze, format json) execute fetch_plan(
         '{${partitions.map((x) => x.topic).join()}}', '{${partitions.map((x) => x.p).join()}}',
         '{${partitions.map(() => from).join()}}', ${maxMessages}, 8388608)`,
    );
    await tx.query('deallocate fetch_plan');
    return rows.flatMap((row) => row['QUERY PLAN'].flatMap((plan) => nodesOf(plan.Plan)));
  });
}

test('a fetch reads one range of the primary key per partition, and only the rows it returns', async () => {
  const onMessages = (await planOfFetch(PER_PARTITION - 100, 1_000)).filter(
    (node) => node['Relation Name'] === 'bus_messages',
  );
  expect(onMessages.map((node) => [node['Node Type'], node['Index Name']])).toEqual([
    ['Index Scan', 'bus_messages_pkey'],
  ]);
  const [scan] = onMessages;
  expect(scan?.['Index Cond']).toMatch(/topic = .*partition = .*"offset" >= /);
  expect((scan?.['Actual Rows'] ?? 0) * (scan?.['Actual Loops'] ?? 0)).toBeLessThanOrEqual(1_000);
});

test('a fetch with nothing new reads no message', async () => {
  const scans = (await planOfFetch(PER_PARTITION, 1_000)).filter((node) => node['Relation Name'] === 'bus_messages');
  expect(scans.map((node) => node['Actual Loops'])).toEqual([0]);
});

/** Sequential scans of the bus's tables that `work` causes in its transaction. */
async function sequentialScans(work: (tx: Queryable) => Promise<unknown>): Promise<Record<string, number>> {
  const count = (tx: Queryable) =>
    tx.query<{ relname: string; seq_scan: number }>(
      `select relname, seq_scan from pg_stat_xact_user_tables where relname in ('bus_messages', 'bus_heads', 'bus_offsets')`,
    );
  return db.database.transaction(async (tx) => {
    const before = new Map((await count(tx)).rows.map((row) => [row.relname, row.seq_scan]));
    await work(tx);
    const { rows } = await count(tx);
    return Object.fromEntries(rows.map((row) => [row.relname, row.seq_scan - (before.get(row.relname) ?? 0)]));
  });
}

const NONE = { bus_messages: 0, bus_heads: 0, bus_offsets: 0 };

test('publishing and committing use indexes only, small tables included', async () => {
  const batch = Array.from({ length: 500 }, (_, i) => message(TOPICS[i % 4] ?? '', `${i}`, 'body'));
  expect(await sequentialScans((tx) => bus.publishIn(tx, batch))).toEqual(NONE);
  expect(await sequentialScans((tx) => bus.publishIn(tx, batch.slice(0, 1)))).toEqual(NONE);
  const subscription = await bus.subscribe({ groupId: 'g', topics: TOPICS, from: 'beginning' });
  await settle([subscription], TOPICS.length * PARTITIONS);
  const positions = subscription.assignment().map((p) => ({ ...p, nextOffset: 10 }));
  expect(await sequentialScans((tx) => subscription.commitIn(tx, positions))).toEqual(NONE);
  await subscription.close();
});

test('deleting what is past its retention does not scan the log', async () => {
  const scans = await sequentialScans((tx) => tx.query(`select bus_expire('lanes', 3, bus_now_ms() + 1000, 100)`));
  expect(scans['bus_messages']).toBe(0);
});
