import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OutgoingMessage, Subscription } from '#lib/bus/port.ts';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { RetrainSignalled } from '#lib/contracts/generated/messages.ts';
import { PostgresRetrainStore } from '../../../services/gateway/adapters/postgres/retrain-store.ts';
import { takeSignals } from '../../../services/gateway/app/retrain-signals.ts';
import { PostgresDriftStore } from '../../../services/drift-monitor/adapters/postgres-drift-store.ts';
import { keepUp } from '../../../services/drift-monitor/app/upkeep.ts';
import { type Harness, problemOf, type ProjectKeys, startGateway } from './gateway-harness.ts';

const codec = singleObjectCodec();
const POLICY = '/v1/models/speeches/retrain-policy';
let gateway: Harness;
let one: ProjectKeys;
let two: ProjectKeys;
let signals: Subscription;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one', { gpuSecondsBudget: 1e6 });
  two = await gateway.project('two');
  await upload('recent');
  signals = await gateway.bus.subscribe({ groupId: 'gateway-retrain', topics: ['retrain.signals'], from: 'beginning' });
});
afterAll(() => gateway.close());

const TRAINING = {
  dataset: { name: 'corpus' },
  base: { config: { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64 } },
  method: 'full',
  model: { name: 'speeches' },
  hyperparameters: { maxSteps: 10, learningRate: 0.01 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
};
const SPEC = {
  training: TRAINING,
  comparison: { dataset: { name: 'recent' }, suites: [{ suite: 'held_out_text' }], metric: 'held_out.bits_per_byte' },
  release: { promote: true },
};
const put = (change: Record<string, unknown> = {}, path = POLICY, key = one.approver) =>
  gateway.call(path, { method: 'PUT', key, body: { spec: SPEC, ...change } });

const upload = (name: string) =>
  gateway.call(`/v1/datasets/${name}/versions`, {
    key: one.submitter,
    raw: `a recent text of ${name}`,
    headers: { 'content-type': 'text/plain' },
  });

const record = (change: Partial<RetrainSignalled> = {}): OutgoingMessage =>
  encodeMessage(codec, {
    topic: 'retrain.signals',
    key: 'speeches',
    type: 'RetrainSignalled',
    payload: {
      signalId: 'outside-1',
      project: 'one',
      model: 'speeches',
      modelVersion: null,
      source: 'manual',
      causes: ['feature:x'],
      detailJson: '{"why":"outside"}',
      atMs: 1_800_000_000_000,
      ...change,
    },
    envelope: { id: change.signalId ?? 'outside-1', source: '/other', timeMs: 1_800_000_000_000 },
  });

/** What waits on the topic, taken by the gateway. */
async function take() {
  const messages = await signals.poll({ maxMessages: 100, maxWaitMs: 0 });
  const retrains = new PostgresRetrainStore(gateway.database);
  return takeSignals({ gateway: gateway.services.gateway, retrains, subscription: signals }, messages, Date.now());
}
/** What the drift monitor does once a second. */
const decide = () => keepUp({ codec, store: new PostgresDriftStore(gateway.database, gateway.bus) }, Date.now());
const shown = async (query = ''): Promise<Record<string, unknown>[]> =>
  (await gateway.call(`/v1/drift/signals?model=speeches${query}`, { key: one.viewer })).body['items'] as never;

describe('a retrain policy', () => {
  it('is stored with its defaults and the next run of its schedule, replaced, read and deleted', async () => {
    const schedule = { cron: '0 3 * * *', timeZone: 'Europe/Berlin' };
    const created = await put({ schedule });
    expect([created.status, (await put({ schedule })).status]).toEqual([201, 200]);
    const { body } = await gateway.call(POLICY, { key: one.viewer });
    expect(body).toMatchObject({
      model: 'speeches',
      policy: { enabled: true, drift: { persistentWindows: 3 }, schedule: { ...schedule, missedRuns: 'skip' } },
      lastFiredAt: null,
    });
    expect(Date.parse(String(body['nextFireAt']))).toBeGreaterThan(Date.now());
    expect((await put()).body['nextFireAt']).toBeNull();
    expect((await gateway.call(POLICY, { method: 'DELETE', key: one.submitter })).status).toBe(204);
    expect((await gateway.call(POLICY, { key: one.viewer })).status).toBe(404);
    expect((await gateway.call(POLICY, { method: 'DELETE', key: one.submitter })).status).toBe(404);
  });

  it.each([
    ['a schedule that never fires', { schedule: { cron: '0 0 30 2 *' } }, '/schedule/cron'],
    ['a schedule that is none', { schedule: { cron: '61 * * * *' } }, '/schedule/cron'],
    ['a time zone that is none', { schedule: { cron: '@daily', timeZone: 'Moon' } }, '/schedule/timeZone'],
    ['an offset for a time zone', { schedule: { cron: '@daily', timeZone: '+02:00' } }, '/schedule/timeZone'],
    ['another model', { spec: { ...SPEC, model: { name: 'letters' } } }, '/spec/model/name'],
    ['a job that would be refused', { spec: { ...SPEC, release: undefined } }, '/spec/release'],
    [
      'a dataset that is not there',
      { spec: { ...SPEC, comparison: { ...SPEC.comparison, dataset: { name: 'gone' } } } },
      '/spec/comparison/dataset/name',
    ],
    ['no job', { spec: undefined }, '/spec'],
    ['a window of nothing', { drift: { windowMs: 0 } }, '/drift/windowMs'],
    ['an unknown member', { drift: { windows: 1 } }, '/drift/windows'],
  ])('with %s is refused by name', async (_, change, pointer) => {
    expect(problemOf(await put(change))).toEqual({ status: 422, code: 'ValidationFailed', pointers: [pointer] });
  });

  it('releases without an approval by the word of whoever may approve', async () => {
    const refused = await put({}, POLICY, one.submitter);
    expect(problemOf(refused)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/spec/release/approval'] });
    const release = { promote: true, approval: {} };
    expect((await put({ spec: { ...SPEC, release } }, POLICY, one.submitter)).status).toBe(201);
  });

  it('is written by submitters, and is none of another project', async () => {
    expect((await put({}, POLICY, one.viewer)).status).toBe(403);
    await put();
    expect((await gateway.call(POLICY, { key: two.viewer })).status).toBe(404);
    expect((await gateway.call(`${POLICY}?project=one`, { key: two.viewer })).status).toBe(404);
    expect((await gateway.call(`${POLICY}?project=none`, { method: 'PUT', body: { spec: SPEC } })).status).toBe(404);
  });
});

describe('a signal', () => {
  it('about a version that does not exist is refused', async () => {
    await put();
    const body = { idempotencyKey: 'no-such-version', modelVersion: 77 };
    const answer = problemOf(await gateway.call('/v1/models/speeches/retrain', { key: one.submitter, body }));
    expect(answer).toMatchObject({ status: 422, pointers: ['/modelVersion'] });
  });

  it('that a person asks for is decided and becomes one retrain job, however often it comes', async () => {
    await put({ drift: { signalBudget: 100 } });
    const ask = () =>
      gateway.call('/v1/models/speeches/retrain', {
        key: one.submitter,
        body: { idempotencyKey: 'wish-1', reason: 'new labels' },
      });
    expect(await ask()).toMatchObject({
      status: 202,
      body: { id: 'wish-1', outcome: 'requested', evidence: { reason: 'new labels' } },
    });
    expect(await decide()).toEqual({ signalled: 1 });
    expect(await take()).toMatchObject({ submitted: 1 });
    expect(await ask()).toMatchObject({ status: 202, body: { id: 'wish-1', outcome: 'signalled', number: 1 } });
    const [row] = await shown();
    const job = await gateway.call(`/v1/jobs/${String(row?.['jobId'])}`, { key: one.viewer });
    expect(job.body).toMatchObject({
      type: 'retrain',
      idempotencyKey: 'wish-1',
      spec: { model: { name: 'speeches' }, reason: { source: 'manual', signalId: 'wish-1', causes: [] } },
    });
    const { rows } = await gateway.database.query<{ submitted_by: string }>(
      'select submitted_by from jobs where id = $1',
      [row?.['jobId']],
    );
    expect(rows[0]?.submitted_by).toBe(row?.['requestedBy']);
    // The message again, as after a crash before the positions.
    await gateway.bus.publish([record({ signalId: 'wish-1' })]);
    expect(await take()).toMatchObject({ submitted: 0, repeated: 1 });
  });

  it('whose submit was stored and whose answer was not is the same job when it comes again', async () => {
    const before = await shown();
    await gateway.database.query("update drift_signals set job_id = null where signal_id = 'wish-1'");
    await gateway.bus.publish([record({ signalId: 'wish-1' })]);
    expect(await take()).toMatchObject({ submitted: 1 });
    expect((await shown())[0]?.['jobId']).toBe(before[0]?.['jobId']);
  });

  it('waits for the running retrain, and its end is seen', async () => {
    await gateway.call('/v1/models/speeches/retrain', { key: one.submitter, body: { idempotencyKey: 'wish-2' } });
    expect(await decide()).toEqual({ RetrainInFlight: 1 });
    await gateway.database.query("update jobs set status = 'COMPLETED' where idempotency_key = 'wish-1'");
    await decide();
    expect(await shown()).toMatchObject([
      { id: 'wish-2', outcome: 'suppressed', reason: 'RetrainInFlight' },
      { id: 'wish-1', retrainEndedAt: expect.any(String) },
    ]);
  });

  it('of another system is decided first, then submitted; what is wrong in it goes to the dead letters', async () => {
    await gateway.bus.publish([
      record(),
      record(),
      record({ signalId: 'two words' }),
      record({ signalId: 'bad-source', source: 'weather' }),
      record({ signalId: 'bad-detail', detailJson: '[]' }),
    ]);
    expect(await take()).toEqual({ submitted: 0, refused: 0, requested: 1, repeated: 1, unreadable: 3 });
    expect(await decide()).toEqual({ signalled: 1 });
    expect(await take()).toMatchObject({ submitted: 1 });
    expect(await shown('&outcome=signalled')).toMatchObject([
      {
        id: 'outside-1',
        causes: ['feature:x'],
        evidence: { why: 'outside' },
        jobId: expect.any(String),
        requestedBy: null,
      },
      { id: 'wish-1' },
    ]);
  });

  it('whose job is refused says so in its row, and frees the way', async () => {
    await gateway.database.query("update jobs set status = 'FAILED' where idempotency_key = 'outside-1'");
    await put({ drift: { signalBudget: 100 } });
    // As if the dataset had been there when the policy was written.
    await gateway.database.query(
      `update retrain_policies set policy = jsonb_set(policy, '{spec,comparison,dataset,name}', '"gone"') where model = 'speeches'`,
    );
    const ask = (idempotencyKey: string) =>
      gateway.call('/v1/models/speeches/retrain', { key: one.submitter, body: { idempotencyKey } });
    await ask('wish-3');
    await decide();
    expect(await take()).toMatchObject({ refused: 1 });
    expect((await shown())[0]).toMatchObject({
      id: 'wish-3',
      jobId: null,
      refusal: { code: 'ValidationFailed', fields: [{ pointer: '/spec/comparison/dataset/name' }] },
    });
    await ask('wish-4');
    expect(await decide()).toEqual({ signalled: 1 });
    // Deleted between the decision and the submit.
    await gateway.call(POLICY, { method: 'DELETE', key: one.submitter });
    expect(await take()).toMatchObject({ refused: 1 });
    expect((await shown())[0]).toMatchObject({ refusal: { code: 'NotFound' } });
  });

  it('needs a policy, the role of a submitter, and a key of its own', async () => {
    const path = '/v1/models/speeches/retrain';
    expect((await gateway.call(path, { key: one.submitter, body: {} })).status).toBe(404);
    await put();
    const training = { ...TRAINING, model: { name: 'letters' } };
    expect((await put({ spec: { ...SPEC, training } }, '/v1/models/letters/retrain-policy')).status).toBe(201);
    expect((await gateway.call(path, { key: one.viewer, body: {} })).status).toBe(403);
    const taken = await gateway.call('/v1/models/letters/retrain', {
      key: one.submitter,
      body: { idempotencyKey: 'wish-1' },
    });
    expect(problemOf(taken)).toMatchObject({ status: 409, code: 'IdempotencyConflict' });
    const unnamed = await gateway.call(path, { key: one.submitter, method: 'POST' });
    expect(unnamed).toMatchObject({ status: 202, body: { id: expect.stringMatching(/^manual-/) } });
  });

  it('is shown in pages without gaps, newest first', async () => {
    const all = (await shown('&limit=200')).map(({ id }) => id);
    const paged: unknown[] = [];
    let cursor = '';
    do {
      const answer = await gateway.call(`/v1/drift/signals?model=speeches&limit=2${cursor}`, { key: one.viewer });
      paged.push(...(answer.body['items'] as { id: string }[]).map(({ id }) => id));
      const next = answer.body['nextCursor'] as string | null;
      cursor = next === null ? '' : `&cursor=${next}`;
    } while (cursor !== '');
    expect(paged).toEqual(all);
    expect(all.length).toBeGreaterThan(4);
    expect(problemOf(await gateway.call('/v1/drift/signals?outcome=lost', { key: one.viewer })).pointers).toEqual([
      '/query/outcome',
    ]);
  });
});

describe('a reference', () => {
  const path = '/v1/models/speeches/versions/1/reference';
  const rows = Array.from({ length: 200 }, (_, n) => ({ length: n, language: n % 3 === 0 ? 'de' : 'en' }));
  const body = {
    rows,
    datasetDigest: 'a'.repeat(64),
    performance: { by: { measure: 'accuracy' }, scores: [1, 0, 1, 1] },
  };
  const store = (content: unknown, at = path) => gateway.call(at, { method: 'PUT', key: one.submitter, body: content });

  it('is built of rows, read as a profile, and the same profile again changes nothing', async () => {
    expect((await store(body)).status).toBe(404);
    await gateway.registry.createVersion({
      project: 'one',
      name: 'speeches',
      sourceKey: 'job-x',
      manifestKey: 'artifacts/x',
      lineage: Object.fromEntries(
        [
          'jobId',
          'runId',
          'datasetName',
          'datasetVersion',
          'datasetDigest',
          'configDigest',
          'codeCommit',
          'baseModelDigest',
          'evaluationReportDigest',
          'manifestDigest',
        ].map((member) => [member, 'x']),
      ) as never,
      tags: {},
    });
    expect(await store(body)).toMatchObject({
      status: 201,
      body: { modelVersion: 1, rows: 200, features: 2, ignored: [], performance: { scores: 4, mean: 0.75 } },
    });
    const { body: read } = await gateway.call(path, { key: one.viewer });
    const revision = async () =>
      (await gateway.database.query<{ revision: number }>('select revision from model_references')).rows[0]?.revision;
    const before = await revision();
    expect((await store({ profile: read['profile'], performance: read['performance'] })).status).toBe(200);
    expect(await revision()).toBe(before);
    await store({ ...body, seed: 1, rows: rows.slice(1) });
    expect(await revision()).not.toBe(before);
  });

  it.each([
    ['no rows', { ...body, rows: [] }, '/rows'],
    ['no digest', { rows }, '/datasetDigest'],
    [
      'a measure that is none',
      { ...body, performance: { by: { measure: 'luck' }, scores: [1] } },
      '/performance/by/measure',
    ],
  ])('with %s is refused by name', async (_, content, pointer) => {
    expect(problemOf(await store(content))).toEqual({ status: 422, code: 'ValidationFailed', pointers: [pointer] });
  });

  it('makes its version appear among the watched ones before anything is observed', async () => {
    // The refused retrains have ended and gave their places in the budget back: the last wish is signalled.
    await decide();
    const watched = await gateway.call('/v1/drift', { key: one.viewer });
    expect(watched.body['items']).toMatchObject([
      { model: 'speeches', modelVersion: 1, state: 'retraining', windows: [], counters: {}, watermark: null },
    ]);
  });
});
