import { afterAll, beforeAll, expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await db.database.query(`select bus_ensure_topics('{a,b,small}', '{12,12,5}', '{1000,1000,1000}')`);
});
afterAll(async () => {
  await db.drop();
});

const join = (groupId: string, member: string, topics: readonly string[]) =>
  db.database.query('select bus_join($1, $2, $3, false, 60000)', [groupId, member, topics]);
const leave = (groupId: string, member: string) => db.database.query('select bus_leave($1, $2)', [groupId, member]);

interface Owned {
  readonly topic: string;
  readonly partition: number;
  readonly member: string | null;
}

const owners = async (groupId: string): Promise<Owned[]> =>
  (
    await db.database.query<Owned>(
      'select topic, partition, member_id as member from bus_offsets where group_id = $1 order by 1, 2',
      [groupId],
    )
  ).rows;

/** What is wrong with an assignment of the topics a and b to `live` members, in words. */
function faults(now: readonly Owned[], live: ReadonlySet<string>): string[] {
  const found: string[] = [];
  const shares = new Map([...live].map((member) => [member, 0]));
  for (const o of now.filter((o) => o.topic === 'a')) {
    const twin = now.find((p) => p.topic === 'b' && p.partition === o.partition);
    if (twin?.member !== o.member) found.push(`partition ${o.partition} of a and b have two owners (BUS-5)`);
    if (o.member === null ? live.size > 0 : !live.has(o.member)) found.push(`${o.partition} belongs to ${o.member}`);
    if (o.member !== null) shares.set(o.member, (shares.get(o.member) ?? 0) + 1);
  }
  const spread = Math.max(0, ...shares.values()) - Math.min(12, ...shares.values());
  if (live.size > 0 && spread > 1) found.push(`shares ${JSON.stringify([...shares])}`);
  return found;
}

const countOf = (rows: readonly Owned[], member: string): number =>
  rows.filter((o) => o.topic === 'a' && o.member === member).length;

test('however members come and go, every partition has one owner, shares differ by one, and only what must move moves', async () => {
  const seed = Date.now() % 100_000;
  const random = mulberry32(seed);
  const live = new Set<string>();
  const found: string[] = [];
  let before: Owned[] = [];
  for (let step = 0; step < 60; step++) {
    const leaver = [...live][Math.floor(random.next() * live.size * 2)];
    if (leaver === undefined) await join('g', `m${step}`, ['a', 'b']);
    else await leave('g', leaver);
    if (leaver === undefined) live.add(`m${step}`);
    else live.delete(leaver);
    const now = await owners('g');
    found.push(...faults(now, live).map((fault) => `step ${step}: ${fault}`));
    const moved = now.filter((o, i) => o.topic === 'a' && before[i]?.member !== o.member).length;
    const needed = leaver === undefined ? countOf(now, `m${step}`) : countOf(before, leaver);
    if (moved !== needed) found.push(`step ${step}: ${moved} partitions moved instead of ${needed}`);
    before = now;
  }
  expect({ seed, found }).toEqual({ seed, found: [] });
});

test('members with different topics get partitions of their own topics only, and every topic is served', async () => {
  await join('mixed', 'both', ['a', 'small']);
  await join('mixed', 'only-a', ['a']);
  await join('mixed', 'only-small', ['small']);
  const now = await owners('mixed');
  expect(now).toHaveLength(17);
  for (const o of now) expect(['both', `only-${o.topic}`]).toContain(o.member);
  await leave('mixed', 'both');
  for (const o of await owners('mixed')) expect(o.member).toBe(`only-${o.topic}`);
  await leave('mixed', 'only-a');
  for (const o of await owners('mixed')) expect(o.member).toBe(o.topic === 'a' ? null : 'only-small');
});
