import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';
import { LINEAGE, newVersion } from '#lib/model-registry/model-registry-harness.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { routeRequest } from '#lib/serving/split.ts';
import { createLogger } from '#lib/service/logger.ts';
import { type InferenceDoor, openInferenceDoor } from '../../../services/gpu-worker/adapters/inference-door.ts';
import { ServingProcess } from '../../../services/gpu-worker/adapters/serving-process.ts';
import { ServedFolders } from '../../../services/gpu-worker/app/served-folders.ts';
import { writeTinyModel } from '../../../services/gpu-worker/serving/test-support/tiny-model.ts';
import { freePort } from '../../../cli/start/local-ports.ts';
import { codec } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { type Harness, problemOf, type ProjectKeys, startGateway } from '../gateway/gateway-harness.ts';
import { childEnvironment } from '../../support/child-environment.ts';

const TOKEN = 'a-secret-of-both-sides';
let gateway: Harness;
let one: ProjectKeys;
let folder: string;
let door: InferenceDoor;
let serving: ServingProcess;

/** Everything real: registry, store, door, serving process, bus. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trainyard-serving-'));
  const port = await freePort();
  gateway = await startGateway({}, { url: `http://127.0.0.1:${port}`, token: TOKEN });
  one = await gateway.project('one');
  const log = createLogger({ service: 'gpu-worker', level: 'silent' });
  serving = new ServingProcess({
    environment: childEnvironment(),
    models: 2,
    threads: 1,
    idleMs: 60_000,
  });
  const platform = {
    store: gateway.objects,
    registry: gateway.registry,
    workspaceDir: join(folder, 'workspace'),
    workspaceMarginBytes: 0,
    log,
  };
  const folders = new ServedFolders(platform);
  door = await openInferenceDoor({ host: '127.0.0.1', port, token: TOKEN, folders, process: serving, log });
  await registerTales();
});
afterAll(async () => {
  await door.close();
  await serving.close();
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

/** Versions of `tales`: 1 and 2 weights of their own, 3 an adapter on 1, 4 files that are no model, 5 one that failed its safety gate. */
async function registerTales(): Promise<void> {
  const upload = (from: string, name: string) =>
    uploadFolder(gateway.objects, from, `artifacts/one/${name}/output`, {
      createdBy: { jobId: name, activity: 'run_training', epoch: 1 },
    });
  const [a, b] = [await writeTinyModel(folder, 1), await writeTinyModel(folder, 2)];
  const first = await upload(a.dir, 'first');
  const stored = [first, await upload(b.dir, 'second'), await upload(a.adapterDir, 'adapter')];
  const adapterTags = {
    technique: 'lora',
    adapterOfManifestKey: first.manifestKey,
    adapterOfDigest: first.digest,
  };
  const versions = [
    { ...stored[0], tags: {} },
    { ...stored[1], tags: {} },
    { ...stored[2], tags: adapterTags },
    { ...stored[2], tags: {} },
    { ...stored[0], tags: { 'trainyard.safetyGate': 'failed' } },
  ];
  for (const [i, { manifestKey = '', digest = '', tags }] of versions.entries())
    await gateway.registry.createVersion(
      newVersion('tales', `job-${i}`, {
        project: 'one',
        manifestKey,
        lineage: { ...LINEAGE, manifestDigest: digest },
        tags,
      }),
    );
}

const ask = (body: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  gateway.call('/v1/models/tales/completions', {
    key: one.viewer,
    body: { prompt: 'Call me', maxTokens: 4, seed: 1, ...body },
    headers,
  });
const promote = (version: number) =>
  gateway.call(`/v1/models/tales/versions/${version}/promote`, { key: one.admin, body: { stage: 'prod' } });
const startSplit = (job: string, canary: number, weight: number) =>
  gateway.database.query(
    `select traffic_split_start(array['one'], array['tales'], array[$1::int], array[1], array[$2::float8], array[$3::text], array['wf'],
       array['{}'::jsonb], array[1::bigint])`,
    [canary, weight, job],
  );
const endSplit = (job: string) =>
  gateway.database.query(
    `select traffic_split_end(array['one'], array['tales'], array[$1::text], array['pass'], array[2::bigint])`,
    [job],
  );

async function observations(wanted: (seen: ObservationRecorded) => boolean, count: number) {
  const reader = await gateway.bus.subscribe({
    groupId: `reader-${Math.random()}`,
    topics: ['production.observations'],
    from: 'beginning',
  });
  const found: ObservationRecorded[] = [];
  await eventually(async () => {
    for (const received of await reader.poll({ maxMessages: 1_000, maxWaitMs: 100 })) {
      const decoded = decodeMessage(codec, received);
      const payload = decoded.ok ? (decoded.message.payload as ObservationRecorded) : null;
      if (payload !== null && wanted(payload)) found.push(payload);
    }
    return found.length >= count;
  });
  await reader.close();
  return found.map((seen) => ({ ...seen, features: JSON.parse(seen.featuresJson) as Record<string, unknown> }));
}

/** The routing unit of an observed answer for each key. */
async function unitsOf(...keys: string[]): Promise<(string | null | undefined)[]> {
  const ids: unknown[] = [];
  for (const key of keys) ids.push((await ask({}, { 'x-routing-key': key })).body['id']);
  return Promise.all(
    ids.map(async (id) => (await observations(({ observationId }) => observationId === id, 1))[0]?.routingUnit),
  );
}

describe('completions', () => {
  it('are answered by nobody before a version is in prod, and by the one in prod afterwards', async () => {
    expect(problemOf(await ask())).toMatchObject({ status: 404, code: 'NotFound' });
    await promote(2);
    await promote(1);
    const answer = await eventually(async () => {
      const got = await ask();
      return got.status === 200 ? got : false;
    });
    expect(answer.body).toMatchObject({ model: 'tales', version: 1, arm: 'prod', completionTokens: 4, seed: 1 });
    expect((await ask()).body['text']).toBe(answer.body['text']);
    expect((await ask({ version: 2 })).body).toMatchObject({ version: 2, arm: 'explicit' });
    expect((await ask({ version: 2 })).body['text']).not.toBe(answer.body['text']);
  });

  it('of an adapter come from it and not from its base', async () => {
    const [base, adapter] = [await ask({ version: 1, temperature: 0 }), await ask({ version: 3, temperature: 0 })];
    expect(adapter.status).toBe(200);
    expect(adapter.body['text']).not.toBe(base.body['text']);
  });

  it('go to the canary for the keys that the split says, sticky, and back after its end', async () => {
    await startSplit('canary-1', 2, 50);
    await eventually(async () => (await ask({}, { 'x-routing-key': 'probe' })).body['arm'] !== 'prod');
    const share = { jobId: 'canary-1', canaryVersion: 2, baselineVersion: 1, weightPercent: 50 };
    for (let i = 0; i < 20; i++) {
      const key = `user-${i}`;
      const expected = routeRequest('one', 'tales', { prodVersion: 1, split: share }, key);
      const answer = await ask({}, { 'x-routing-key': key });
      expect(answer.body).toMatchObject({ ...expected });
      expect(answer.headers).toMatchObject({ 'x-model-version': String(expected?.version) });
    }
    await endSplit('canary-1');
    await eventually(async () => (await ask({}, { 'x-routing-key': 'user-1' })).body['arm'] === 'prod');
  });

  it('are observed with figures and without a word of the text', async () => {
    const answer = await ask({ prompt: 'a secret prompt' });
    const [seen] = await observations(({ observationId }) => observationId === answer.body['id'], 1);
    expect(seen).toMatchObject({
      project: 'one',
      model: 'tales',
      modelVersion: 1,
      prediction: 'length',
      score: Math.exp(Number(answer.body['meanLogProb'])),
      features: { arm: 'prod', failed: 0, promptCharacters: 15, completionTokens: 4 },
    });
    expect(JSON.stringify(seen)).not.toContain('secret');
    expect(seen?.routingUnit).toBeNull();
    // Nothing of a key either, since no canary counts users.
    expect(await unitsOf('a secret name')).toEqual([null]);
  });

  it('of a canary are told apart by user, under a secret of that canary alone', async () => {
    const secrets = async () => {
      const { rows } = await gateway.database.query<{ secret: string | null }>(
        'select unit_secret as secret from traffic_splits order by id',
      );
      return rows.map(({ secret }) => secret);
    };
    const seen: unknown[] = [];
    for (const job of ['canary-3', 'canary-4']) {
      await startSplit(job, 2, 50);
      await eventually(async () => (await ask({}, { 'x-routing-key': 'probe' })).body['arm'] !== 'prod');
      const [first, again, other] = await unitsOf('a secret name', 'a secret name', 'another');
      expect(first).toMatch(/^[0-9a-f]{32}$/);
      expect([again === first, other === first]).toEqual([true, false]);
      seen.push(first);
      expect((await secrets()).at(-1)).toMatch(/^[0-9a-f]{64}$/);
      await endSplit(job);
      await eventually(async () => (await ask({}, { 'x-routing-key': 'probe' })).body['arm'] === 'prod');
    }
    expect(seen[1]).not.toBe(seen[0]);
    // Forgotten with its canary.
    expect(await secrets()).toEqual([null, null, null]);
  });

  it('of a version that cannot be loaded fail with the reason, are observed as failed, and hold up nobody', async () => {
    const answer = await ask({ version: 4 });
    expect(problemOf(answer)).toMatchObject({ status: 502, code: 'InferenceFailed' });
    expect(answer.body['detail']).toMatch(/TrainerDataMissing/);
    const [seen] = await observations(({ modelVersion }) => modelVersion === 4, 1);
    expect(seen).toMatchObject({ prediction: 'failed', score: null, features: { failed: 1 } });
    expect((await ask()).status).toBe(200);
  });

  it('of a version that failed its safety gate do not exist', async () => {
    expect(problemOf(await ask({ version: 5 }))).toMatchObject({ status: 409, code: 'SafetyGateFailed' });
  });

  it('refuse what they do not know by its field', async () => {
    expect(problemOf(await ask({ temperature: 3 }))).toMatchObject({ status: 422, pointers: ['/temperature'] });
    expect(problemOf(await ask({ maxTokens: 0 }))).toMatchObject({ status: 422, pointers: ['/maxTokens'] });
    expect(problemOf(await ask({ top_p: 1 }))).toMatchObject({ status: 422, pointers: ['/top_p'] });
    expect(problemOf(await ask({ version: 99 }))).toMatchObject({ status: 404 });
  });
});

describe('the route for clients of OpenAI', () => {
  const openAi = (body: Record<string, unknown>, headers: Record<string, string> = {}) =>
    gateway.call('/v1/completions', { key: one.viewer, body: { prompt: 'Call me', max_tokens: 4, ...body }, headers });

  it('answers in its form', async () => {
    const answer = await openAi({ model: 'tales', seed: 1, stop: null });
    expect(answer.body).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      model: 'tales/1',
      choices: [{ text: (await ask()).body['text'], index: 0, finish_reason: 'length', logprobs: null }],
      usage: { prompt_tokens: 7, completion_tokens: 4, total_tokens: 11 },
    });
    expect((await openAi({ model: 'tales/2' })).body['model']).toBe('tales/2');
    expect((await openAi({ model: 'tales@latest' })).status).toBe(409);
  });

  it('takes `user` as the sticky key, and the header before it', async () => {
    await startSplit('canary-2', 2, 50);
    const share = { jobId: 'canary-2', canaryVersion: 2, baselineVersion: 1, weightPercent: 50 };
    const armOf = (key: string) => routeRequest('one', 'tales', { prodVersion: 1, split: share }, key)?.arm;
    const keys = Array.from({ length: 40 }, (_, i) => `user-${i}`);
    const canary = keys.find((key) => armOf(key) === 'canary') ?? '';
    const baseline = keys.find((key) => armOf(key) === 'baseline') ?? '';
    await eventually(async () => (await openAi({ model: 'tales', user: canary })).headers['x-model-arm'] === 'canary');
    const both = await openAi({ model: 'tales', user: canary }, { 'x-routing-key': baseline });
    expect(both.headers['x-model-arm']).toBe('baseline');
    await endSplit('canary-2');
  });

  it('refuses a stream, several answers, and a model that is no reference', async () => {
    expect(problemOf(await openAi({ model: 'tales', stream: true })).pointers).toEqual(['/stream']);
    expect(problemOf(await openAi({ model: 'tales', n: 2 })).pointers).toEqual(['/n']);
    expect(problemOf(await openAi({ model: 'a b' })).pointers).toEqual(['/model']);
  });
});

describe('the door', () => {
  const knock = (body: string, headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${door.port}/v1/infer`, { method: 'POST', body, headers });

  it('opens to the token only', async () => {
    for (const headers of [{}, { authorization: 'Bearer wrong' }])
      expect((await knock('{}', headers as Record<string, string>)).status).toBe(401);
  });

  it('refuses what is no request', async () => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    expect((await knock('{', headers)).status).toBe(400);
    expect((await knock('{"prompt":1}', headers)).status).toBe(400);
    expect((await knock('x'.repeat(2_000_000), headers).catch(() => ({ status: 413 }))).status).toBe(413);
  });
});

it('without an inference server completions are unavailable, and say so', async () => {
  const alone = await startGateway();
  const project = await alone.project('one');
  await alone.registry.createVersion(newVersion('m', 'j', { project: 'one' }));
  await alone.call('/v1/models/m/versions/1/promote', { key: project.admin, body: { stage: 'prod' } });
  const answer = await alone.call('/v1/models/m/completions', { key: project.viewer, body: { prompt: 'x' } });
  expect(problemOf(answer)).toMatchObject({ status: 503, code: 'InferenceUnavailable' });
  await alone.close();
});
