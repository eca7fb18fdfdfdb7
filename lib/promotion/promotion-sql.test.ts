import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { sqlState } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';

const PROJECT = 'demo';
let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
});
afterAll(() => db.drop());

interface Ask {
  readonly model: string;
  readonly version: number;
  readonly stage: string;
  readonly job?: string | null;
}
const append = (...asked: Ask[]): Promise<unknown> =>
  db.database.query(
    'select promotion_append($1::text[], $2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[])',
    [
      asked.map(() => PROJECT),
      asked.map(({ model }) => model),
      asked.map(({ version }) => version),
      asked.map(({ stage }) => stage),
      asked.map(({ job }) => job ?? null),
      asked.map(() => 'tester'),
      asked.map(() => 'because'),
      asked.map(() => 1),
    ],
  );
const rollback = async (model: string, from: number | null = null): Promise<number> => {
  const { rows } = await db.database.query<{ version: number }>(
    `select (promotion_rollback($1, $2, 'tester', 'bad', 2, $3)).version`,
    [PROJECT, model, from],
  );
  return rows[0]?.version ?? Number.NaN;
};

interface Row {
  readonly seq: number;
  readonly version: number;
  readonly stage: string;
  readonly kind: string;
  readonly former_version: number | null;
}
const ledger = async (model: string): Promise<Row[]> =>
  (
    await db.database.query<Row>(
      'select seq, version, stage, kind, former_version from promotions where project = $1 and model = $2 order by seq',
      [PROJECT, model],
    )
  ).rows;
const stages = async (model: string): Promise<Record<number, string>> =>
  Object.fromEntries(
    (
      await db.database.query<{ version: number; stage: string }>(
        'select version, stage from model_stages where project = $1 and model = $2',
        [PROJECT, model],
      )
    ).rows.map((row) => [row.version, row.stage]),
  );

/** Stages by the rows alone; throws when a prefix has two versions in prod. */
function fold(rows: readonly Row[]): Record<number, string> {
  const stage: Record<number, string> = {};
  rows.forEach((row, index) => {
    expect(row.seq).toBe(index + 1);
    const inProd = Object.keys(stage).find((version) => stage[Number(version)] === 'prod');
    const replaced = row.stage === 'prod' && inProd !== undefined && Number(inProd) !== row.version;
    expect(row.former_version).toBe(replaced ? Number(inProd) : null);
    if (row.former_version !== null) stage[row.former_version] = 'archived';
    stage[row.version] = row.stage;
    expect(Object.values(stage).filter((each) => each === 'prod').length).toBeLessThanOrEqual(1);
  });
  return stage;
}

describe('the promotion ledger', () => {
  it('archives the former prod version in the row that replaces it', async () => {
    await append({ model: 'm1', version: 1, stage: 'prod' }, { model: 'm1', version: 2, stage: 'prod' });
    expect(await ledger('m1')).toMatchObject([{ former_version: null }, { version: 2, former_version: 1 }]);
    expect(await stages('m1')).toEqual({ 1: 'archived', 2: 'prod' });
  });

  it('leaves a version in prod that people put there, when the job of its canary wants to put it away', async () => {
    await append({ model: 'kept', version: 1, stage: 'prod' });
    await append({ model: 'kept', version: 2, stage: 'staging', job: 'job-kept' });
    await append({ model: 'kept', version: 2, stage: 'prod' });
    await append({ model: 'kept', version: 2, stage: 'archived', job: 'job-kept' });
    expect(await stages('kept')).toEqual({ 1: 'archived', 2: 'prod' });
  });

  it('adds nothing when a job repeats its call, whatever happened since', async () => {
    const first: Ask = { model: 'm2', version: 1, stage: 'prod', job: 'a' };
    await append(first, first);
    await append({ model: 'm2', version: 2, stage: 'prod', job: 'b' });
    await append(first);
    expect(await stages('m2')).toEqual({ 1: 'archived', 2: 'prod' });
    expect(await ledger('m2')).toHaveLength(2);
  });

  it('rolls back one version at a time, and refuses when there is none before', async () => {
    await append(...[1, 2, 3].map((version) => ({ model: 'm3', version, stage: 'prod' })));
    expect([await rollback('m3'), await rollback('m3')]).toEqual([2, 1]);
    expect(await rollback('m3').then(() => null, sqlState)).toBe('TY010');
    expect(await rollback('absent').then(() => null, sqlState)).toBe('TY010');
    expect(await stages('m3')).toEqual({ 1: 'prod', 2: 'archived', 3: 'archived' });
  });

  it('does not roll back twice when the request that names its version comes twice', async () => {
    await append(...[1, 2, 3].map((version) => ({ model: 'm4', version, stage: 'prod' })));
    expect(await rollback('m4', 3)).toBe(2);
    expect(await rollback('m4', 3).then(() => null, sqlState)).toBe('TY011');
    expect((await stages('m4'))[2]).toBe('prod');
  });

  it('never restores what was rolled back or taken out of prod', async () => {
    const promote = (version: number, stage = 'prod') => append({ model: 'm5', version, stage });
    await promote(1);
    await promote(2);
    await rollback('m5');
    await promote(3);
    expect(await rollback('m5')).toBe(1);
    await promote(4);
    await promote(4, 'archived');
    expect(Object.values(await stages('m5'))).not.toContain('prod');
    expect(await rollback('m5')).toBe(1);
    await promote(1, 'staging');
    await promote(1);
    expect(await rollback('m5').then(() => null, sqlState)).toBe('TY010');
  });

  it('cannot be changed or shortened', async () => {
    await append({ model: 'm6', version: 1, stage: 'prod' });
    const change = (sql: string) => db.database.query(sql).then(() => null, sqlState);
    expect(await change(`update promotions set version = 9 where model = 'm6'`)).toBe('TY012');
    expect(await change(`delete from promotions where model = 'm6'`)).toBe('TY012');
    expect(await change(`update promotions set synced_at_ms = 5 where model = 'm6'`)).toBeNull();
  });

  it('has at most one prod version at every prefix, under racing promotions and rollbacks', async () => {
    const seed = Number(process.env['SEED'] ?? 7);
    console.info(`SEED=${seed}`);
    const random = mulberry32(seed);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random.next() * from.length)] as T;
    const models = ['r1', 'r2', 'r3'];
    const refusals: (string | null)[] = [];
    const one = (): Promise<unknown> => {
      const asks = [pick(models), pick(models)].map((model) => ({
        model,
        version: pick([1, 2, 3, 4]),
        stage: pick(['prod', 'prod', 'prod', 'staging', 'archived']),
        job: pick([null, `job-${Math.floor(random.next() * 100)}`]),
      }));
      if (random.next() < 0.7) return append(...asks);
      return rollback(pick(models)).catch((error: unknown) => refusals.push(sqlState(error)));
    };
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 8 }, one));
    expect(refusals.filter((state) => state !== 'TY010')).toEqual([]);
    for (const model of models) {
      const rows = await ledger(model);
      expect(rows.length).toBeGreaterThan(20);
      expect(await stages(model)).toEqual(fold(rows));
    }
  });

  it('rolls back within a second while a thousand rows are in it', async () => {
    await append(...Array.from({ length: 1_000 }, (_, i) => ({ model: 'long', version: i + 1, stage: 'prod' })));
    const start = performance.now();
    expect(await rollback('long')).toBe(999);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

describe('traffic splits', () => {
  const start = (model: string, job: string, weight = 10) =>
    db.database.query(
      `select traffic_split_start(array['demo'], array[$1::text], array[2], array[1], array[$2::float8], array[$3::text], array['wf'],
         array['{}'::jsonb], array[5::bigint])`,
      [model, weight, job],
    );
  const end = (model: string, job: string, outcome = 'pass') =>
    db.database.query(
      `select traffic_split_end(array['demo'], array[$1::text], array[$2::text], array[$3::text], array[9::bigint])`,
      [model, job, outcome],
    );
  const rows = async (model: string) =>
    (
      await db.database.query<{ job_id: string; weight: number; outcome: string | null }>(
        'select job_id, weight_percent::float8 as weight, outcome from traffic_splits where model = $1 order by id',
        [model],
      )
    ).rows;

  it('are one at a time per model: the second job is refused, once, and its row says so', async () => {
    await Promise.all([start('t1', 'a'), start('t1', 'b')]);
    await Promise.all([start('t1', 'a'), start('t1', 'b')]);
    const outcomes = (await rows('t1')).map(({ outcome }) => outcome);
    expect(outcomes.map(String).toSorted()).toEqual(['null', 'refused']);
  });

  it('open beside the version in prod only, wherever the others are', async () => {
    await append({ model: 't5', version: 1, stage: 'prod' }, { model: 't5', version: 3, stage: 'prod' });
    await start('t5', 'late');
    await append({ model: 't6', version: 1, stage: 'prod' }, { model: 't6', version: 1, stage: 'archived' });
    await start('t6', 'late');
    await append({ model: 't7', version: 1, stage: 'prod' });
    await start('t7', 'in time');
    expect([...(await rows('t5')), ...(await rows('t6')), ...(await rows('t7'))]).toMatchObject([
      { outcome: 'refused' },
      { outcome: 'refused' },
      { outcome: null },
    ]);
  });

  it.each<[string, Ask | null, string | null]>([
    ['a rollback', null, 'superseded'],
    ['another version in prod', { model: '', version: 3, stage: 'prod', job: 'b' }, 'superseded'],
    ['the canary in prod, by a person', { model: '', version: 2, stage: 'prod' }, 'superseded'],
    ['the canary archived', { model: '', version: 2, stage: 'archived' }, 'superseded'],
    ['the baseline taken out of prod', { model: '', version: 1, stage: 'staging' }, 'superseded'],
    ['the canary where it is', { model: '', version: 2, stage: 'staging' }, null],
    ['the baseline in prod again', { model: '', version: 1, stage: 'prod' }, null],
    ['a stranger in staging', { model: '', version: 9, stage: 'staging' }, null],
    ['its own job', { model: '', version: 2, stage: 'prod', job: 'a' }, null],
  ])('end with what the ledger moves: %s', async (name, ask, outcome) => {
    const model = `moved: ${name}`;
    await append(...[5, 1].map((version) => ({ model, version, stage: 'prod' })));
    await append({ model, version: 2, stage: 'staging', job: 'a' });
    await start(model, 'a');
    await (ask === null ? rollback(model) : append({ ...ask, model }));
    expect(await rows(model)).toMatchObject([{ job_id: 'a', outcome }]);
    // The workflow that hears of it later changes nothing about it.
    await end(model, 'a', 'fail');
    expect((await rows(model))[0]).toMatchObject({ outcome: outcome ?? 'fail' });
  });

  it('start and end once, however often the calls are repeated', async () => {
    await start('t2', 'a', 12.5);
    await start('t2', 'a', 50);
    await end('t2', 'a');
    await end('t2', 'a', 'fail');
    await start('t2', 'a');
    await end('t2', 'never');
    expect(await rows('t2')).toEqual([{ job_id: 'a', weight: 12.5, outcome: 'pass' }]);
    await start('t2', 'b');
    expect(await rows('t2')).toMatchObject([{ outcome: 'pass' }, { job_id: 'b', outcome: null }]);
  });

  it('above 100 percent are refused', async () => {
    expect(await start('t3', 'a', 101).then(() => null, sqlState)).toBe('23514');
  });

  it('and stages tell listeners of every change', async () => {
    const heard: string[] = [];
    const listener = db.database.listen(['traffic_splits', 'model_stages'], (channel, payload) => {
      heard.push(`${channel} ${payload}`);
    });
    await expect.poll(() => heard.length).toBe(2);
    await start('t4', 'a');
    await start('t4', 'a');
    await end('t4', 'a');
    await append({ model: 't4', version: 2, stage: 'prod' });
    await expect
      .poll(() => heard.slice(2))
      .toEqual(['traffic_splits ["demo", "t4"]', 'traffic_splits ["demo", "t4"]', 'model_stages ["demo", "t4"]']);
    await listener.close();
  });
});
