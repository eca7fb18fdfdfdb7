import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newVersion } from '#lib/model-registry/model-registry-harness.ts';
import { SAFETY_GATE_TAG } from '#lib/promotion/safety-gate.ts';
import { syncPromotions } from '#lib/promotion/sync.ts';
import { type Answer, type Harness, problemOf, type ProjectKeys, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
let other: ProjectKeys;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  other = await gateway.project('other');
});
afterAll(() => gateway.close());

const register = async (model: string, count: number, tags: Record<string, string> = {}): Promise<void> => {
  for (let i = 1; i <= count; i++)
    await gateway.registry.createVersion(newVersion(model, `${model}-${i}`, { project: 'one', tags }));
};
const promote = (model: string, version: number, stage = 'prod', key = one.admin): Promise<Answer> =>
  gateway.call(`/v1/models/${model}/versions/${version}/promote`, { key, body: { stage, reason: 'better' } });
const rollback = (model: string, body: unknown = {}, key = one.approver): Promise<Answer> =>
  gateway.call(`/v1/models/${model}/rollback`, { key, body });
const stagesShown = async (model: string): Promise<unknown[]> => {
  const answer = await gateway.call(`/v1/models/${model}/versions`, { key: one.viewer });
  return (answer.body['items'] as { stage: string }[]).map(({ stage }) => stage).reverse();
};

describe('promotion by people', () => {
  it('puts a version into prod, archives the former one, and shows it before the registry does', async () => {
    await register('tales', 2);
    expect(await promote('tales', 1)).toMatchObject({ status: 200, body: { seq: 1, formerVersion: null } });
    expect(await promote('tales', 2)).toMatchObject({ status: 200, body: { seq: 2, formerVersion: 1, jobId: null } });
    expect(await stagesShown('tales')).toEqual(['archived', 'prod']);
    expect((await gateway.registry.getVersion('one', 'tales', 2))?.stage).toBe('dev');
    await syncPromotions(gateway.services.promotions, gateway.registry, Date.now);
    expect((await gateway.registry.getVersion('one', 'tales', 2))?.stage).toBe('prod');
  });

  it('and rollback are written into a history that names who asked and why', async () => {
    await register('known', 2);
    await promote('known', 1);
    await promote('known', 2);
    expect(await rollback('known', { reason: 'too slow' })).toMatchObject({
      status: 200,
      body: { version: 1, kind: 'rollback', formerVersion: 2, reason: 'too slow' },
    });
    const history = await gateway.call('/v1/models/known/promotions?limit=2', { key: one.viewer });
    expect((history.body['items'] as { seq: number }[]).map(({ seq }) => seq)).toEqual([3, 2]);
    const next = `/v1/models/known/promotions?cursor=${String(history.body['nextCursor'])}`;
    const rest = await gateway.call(next, { key: one.viewer });
    expect(rest.body).toMatchObject({ items: [{ seq: 1, requestedBy: expect.any(String) }], nextCursor: null });
  });

  it('is not rolled back where there is nothing before, nor twice by a request that names its version', async () => {
    await register('short', 3);
    expect(problemOf(await rollback('short'))).toMatchObject({ status: 409, code: 'NothingToRollBackTo' });
    await promote('short', 1);
    expect(problemOf(await rollback('short'))).toMatchObject({ status: 409, code: 'NothingToRollBackTo' });
    await promote('short', 2);
    await promote('short', 3);
    expect((await rollback('short', { fromVersion: 3 })).status).toBe(200);
    expect(problemOf(await rollback('short', { fromVersion: 3 }))).toMatchObject({
      status: 409,
      code: 'StateConflict',
    });
    expect(await stagesShown('short')).toEqual(['archived', 'prod', 'archived']);
  });

  it('cannot lead a version past a failed safety gate, whoever asks', async () => {
    await register('unsafe', 1, { [SAFETY_GATE_TAG]: 'failed' });
    for (const key of [one.admin, gateway.adminKey])
      for (const stage of ['staging', 'prod'])
        expect(
          problemOf(await gateway.call('/v1/models/unsafe/versions/1/promote?project=one', { key, body: { stage } })),
        ).toMatchObject({ status: 409, code: 'SafetyGateFailed' });
    expect((await promote('unsafe', 1, 'archived')).status).toBe(200);
  });

  it('needs the role, an existing version, a stage, and one’s own project', async () => {
    await register('mine', 2);
    expect(problemOf(await promote('mine', 1, 'prod', one.approver))).toMatchObject({ status: 403 });
    expect(problemOf(await rollback('mine', {}, one.submitter))).toMatchObject({ status: 403 });
    expect(problemOf(await promote('mine', 9))).toMatchObject({ status: 404 });
    expect(problemOf(await promote('mine', 1, 'production'))).toMatchObject({ status: 422, pointers: ['/stage'] });
    await promote('mine', 1);
    await promote('mine', 2);
    expect(problemOf(await rollback('mine', {}, other.approver))).toMatchObject({ status: 409 });
    const foreign = await gateway.call('/v1/models/mine/rollback?project=one', { key: other.approver, body: {} });
    expect(foreign.status).toBe(404);
    expect(await stagesShown('mine')).toEqual(['archived', 'prod']);
  });
});

it('traffic and ledger of a model that nobody has registered do not exist', async () => {
  await register('quiet', 1);
  for (const what of ['traffic', 'promotions']) {
    expect((await gateway.call(`/v1/models/quiet/${what}`, { key: one.viewer })).status).toBe(200);
    expect((await gateway.call(`/v1/models/nobody/${what}`, { key: one.viewer })).status).toBe(404);
  }
});

it('traffic shows the version in prod, the open split and those before it', async () => {
  const split = (job: string) =>
    gateway.database.query(
      `select traffic_split_start(array['one'], array['split'], array[2], array[1], array[10::float8], array[$1::text], array['wf'],
         array['{}'::jsonb], array[1000::bigint])`,
      [job],
    );
  await register('split', 2);
  await promote('split', 1);
  await split('job-1');
  await gateway.database.query(
    `select traffic_split_end(array['one'], array['split'], array['job-1'], array['pass'], array[2000::bigint])`,
  );
  await split('job-2');
  expect((await gateway.call('/v1/models/split/traffic', { key: one.viewer })).body).toMatchObject({
    prodVersion: 1,
    split: { jobId: 'job-2', weightPercent: 10, canaryVersion: 2, endedAt: null, watch: null },
    pastSplits: [{ jobId: 'job-1', outcome: 'pass', endedAt: '1970-01-01T00:00:02.000Z' }],
  });
});
