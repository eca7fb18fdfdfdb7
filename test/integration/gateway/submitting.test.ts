import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import type { Lineage } from '#lib/model-registry/port.ts';
import { fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  await gateway.project('two');
  await gateway.call('/v1/datasets/secret/versions?project=two', {
    raw: 'what only two may see',
    headers: { 'content-type': 'text/plain' },
  });
  await registerModels();
});
afterAll(() => gateway.close());

const SHAPE = { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64, vocabularySize: 512 };
const lineage = (job: string): Lineage => ({
  jobId: job,
  runId: 'run',
  datasetName: 'corpus',
  datasetVersion: '1',
  datasetDigest: 'd',
  configDigest: 'c',
  codeCommit: 'x',
  baseModelDigest: 'b',
  evaluationReportDigest: 'e',
  manifestDigest: `digest-of-${job}`,
});

async function registerModels(): Promise<void> {
  const version = { project: 'one', manifestKey: 'models/base/manifest.json' };
  const tags = { technique: 'full', architecture: JSON.stringify(SHAPE) };
  await gateway.registry.createVersion({ ...version, name: 'base', sourceKey: 'a', lineage: lineage('base'), tags });
  await gateway.registry.createVersion({
    ...version,
    manifestKey: 'models/adapter/manifest.json',
    name: 'adapter',
    sourceKey: 'b',
    lineage: lineage('adapter'),
    tags: {
      ...tags,
      technique: 'lora',
      adapterOf: 'base/1',
      adapterOfManifestKey: 'models/base/manifest.json',
      adapterOfDigest: 'digest-of-base',
    },
  });
  await gateway.registry.createVersion({
    ...version,
    name: 'orphan',
    sourceKey: 'c',
    lineage: lineage('orphan'),
    tags: { technique: 'qlora' },
  });
}

const submit = (body: unknown, headers?: Record<string, string>) =>
  gateway.call('/v1/jobs', { key: one.submitter, body, ...(headers === undefined ? {} : { headers }) });

const config = (change: Record<string, unknown>) => ({
  base: { config: { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64, ...change } },
});
const steps = (change: Record<string, unknown>) => ({
  hyperparameters: { maxSteps: 100, learningRate: 0.01, ...change },
});
const onBase = (model: string, more: Record<string, unknown> = {}) => ({ base: { model }, method: 'lora', ...more });
const policy = (...lines: unknown[]) => ({ evaluation: { suites: [{ suite: 'held_out_text' }], policy: lines } });

describe('a submission is refused, and the problem names the field, for', () => {
  const cases: [what: string, change: Record<string, unknown>, spec: Record<string, unknown>, pointer: string][] = [
    ['an unknown type', { type: 'tune' }, {}, '/type'],
    ['no type', { type: undefined }, {}, '/type'],
    ['no idempotency key', { idempotencyKey: undefined }, {}, '/idempotencyKey'],
    ['an idempotency key with a slash', { idempotencyKey: 'a/b' }, {}, '/idempotencyKey'],
    ['an unknown field', { colour: 'red' }, {}, '/colour'],
    ['an unknown field of the spec', {}, { colour: 'red' }, '/spec/colour'],
    ['an unknown field deep in the spec', {}, steps({ lerningRate: 1 }), '/spec/hyperparameters/lerningRate'],
    ['an unknown priority', { priority: 'asap' }, {}, '/priority'],
    ['a label that is no text', { labels: { a: 1 } }, {}, '/labels/a'],
    ['a label with a bad name', { labels: { 'a b/c~d': 'x' } }, {}, '/labels/a b~1c~0d'],
    ['a number as text', {}, steps({ maxSteps: '100' }), '/spec/hyperparameters/maxSteps'],
    ['a text as number', {}, { dataset: { name: 7 } }, '/spec/dataset/name'],
    ['negative steps', {}, steps({ maxSteps: -1 }), '/spec/hyperparameters/maxSteps'],
    ['half a step', {}, steps({ maxSteps: 1.5 }), '/spec/hyperparameters/maxSteps'],
    ['a missing required field', {}, { hyperparameters: { maxSteps: 1 } }, '/spec/hyperparameters/learningRate'],
    ['an unknown method', {}, { method: 'magic' }, '/spec/method'],
    ['an unknown suite', {}, { evaluation: { suites: [{ suite: 'iq' }] } }, '/spec/evaluation/suites/0/suite'],
    [
      'a suite without what it needs',
      {},
      { evaluation: { suites: [{ suite: 'cloze' }] } },
      '/spec/evaluation/suites/0/items',
    ],
    ['neither config nor model', {}, { base: {} }, '/spec/base'],
    ['config and model', {}, { base: { model: 'base/1', config: SHAPE } }, '/spec/base'],
    ['an unknown field of the config', {}, config({ depth: 3 }), '/spec/base/config/depth'],
    ['an absent dataset', {}, { dataset: { name: 'nothing' } }, '/spec/dataset/name'],
    ['an absent version of a dataset', {}, { dataset: { name: 'corpus', version: 9 } }, '/spec/dataset/version'],
    ['the dataset of another project', {}, { dataset: { name: 'secret' } }, '/spec/dataset/name'],
    ['an absent base model', {}, onBase('nobody@dev'), '/spec/base/model'],
    ['an absent version of a base model', {}, onBase('base/7'), '/spec/base/model'],
    ['a base model that is no reference', {}, onBase('base'), '/spec/base/model'],
    ['an embedding that the heads do not divide', {}, config({ heads: 3 }), '/spec/base/config/embeddingSize'],
    ['sequences longer than the context', {}, steps({ sequenceLength: 65 }), '/spec/hyperparameters/sequenceLength'],
    [
      'sequences longer than the context of the base',
      {},
      onBase('base/1', steps({ sequenceLength: 65 })),
      '/spec/hyperparameters/sequenceLength',
    ],
    ['lora settings for full training', {}, { lora: { r: 4 } }, '/spec/lora'],
    ['lora without a base model', {}, { method: 'lora' }, '/spec/method'],
    ['qlora without a base model', {}, { method: 'qlora' }, '/spec/method'],
    ['a rank larger than the layer', {}, onBase('base/1', { lora: { r: 33 } }), '/spec/lora/r'],
    ['an adapter on an adapter', {}, onBase('adapter@dev'), '/spec/base/model'],
    ['an adapter without a record of its base', {}, onBase('orphan/1'), '/spec/base/model'],
    [
      'a threshold on an unknown metric',
      {},
      policy({ metric: 'joy', operator: '>', threshold: 1 }),
      '/spec/evaluation/policy/0/metric',
    ],
    [
      'a threshold on a metric that no chosen suite produces',
      {},
      policy(
        { metric: 'held_out.loss', operator: '<', threshold: 1 },
        { metric: 'cloze.moby-dick.accuracy', operator: '>', threshold: 0 },
      ),
      '/spec/evaluation/policy/1/metric',
    ],
    [
      'a comparison with a base that is random',
      {},
      policy({ metric: 'held_out.loss', operator: '<', threshold: 0, relativeTo: 'base' }),
      '/spec/evaluation/policy/0/relativeTo',
    ],
    [
      'a checkpoint at every one of a million steps',
      {},
      steps({ maxSteps: 1e6, checkpointEverySteps: 1 }),
      '/spec/hyperparameters/checkpointEverySteps',
    ],
    [
      'a suite listed twice',
      {},
      { evaluation: { suites: [{ suite: 'held_out_text' }, { suite: 'held_out_text' }] } },
      '/spec/evaluation/suites/1',
    ],
  ];
  it.each(cases)('%s', async (_what, change, spec, pointer) => {
    expect(problemOf(await submit(fineTune(change, spec)))).toEqual({
      status: 422,
      code: 'ValidationFailed',
      pointers: [pointer],
    });
  });

  it('several at once: one answer names them all', async () => {
    const body = fineTune({ priority: 'asap', extra: 1 }, { ...steps({ maxSteps: 0 }), method: 'magic' });
    expect(problemOf(await submit(body)).pointers).toEqual([
      '/extra',
      '/priority',
      '/spec/hyperparameters/maxSteps',
      '/spec/method',
    ]);
  });

  it.each(['hpo', 'retrain', 'rlhf', 'eval_only'])('a spec of the type %s that has nothing in it', async (type) => {
    const answer = problemOf(await submit({ type, idempotencyKey: 'k', spec: {} }));
    expect(answer).toMatchObject({ status: 422, code: 'ValidationFailed' });
    expect(answer.pointers.length).toBeGreaterThan(2);
    expect(answer.pointers.filter((pointer) => !/^\/spec\/\w+$/.test(pointer))).toEqual([]);
  });

  it.each([[[]], ['text'], [7], [null]])('the body %j', async (body) => {
    const answer = problemOf(await submit(body));
    expect(answer).toMatchObject({ status: 422, code: 'ValidationFailed' });
    expect(answer.pointers).toContain('');
    // The same for a platform admin, of whom a project is asked otherwise.
    expect(problemOf(await gateway.call('/v1/jobs', { body })).pointers).toEqual(['']);
  });

  it.each([
    ['{"type": "fine_tune",\n  "spec": }', 'position 32 (line 2, column 11)'],
    ['{"type": "fine_tune"', 'position 20'],
    ['', 'empty'],
    ['{"__proto__": {"admin": true}}', '__proto__'],
  ])('malformed JSON: %s', async (raw, where) => {
    const answer = await gateway.call('/v1/jobs', {
      key: one.submitter,
      method: 'POST',
      raw,
      headers: { 'content-type': 'application/json' },
    });
    expect(problemOf(answer)).toMatchObject({ status: 400, code: 'MalformedJson' });
    expect(answer.body['detail']).toContain(where);
  });

  it('a body of 10 MB', async () => {
    const answer = await submit(fineTune({ description: 'x'.repeat(10_000_000) }));
    expect(problemOf(answer)).toMatchObject({ status: 413, code: 'BodyTooLarge' });
  });

  it.each(['text/plain', 'application/xml', 'multipart/form-data; boundary=x', 'application/jsonl'])(
    'the content type %s',
    async (type) => {
      const answer = await gateway.call('/v1/jobs', {
        key: one.submitter,
        raw: JSON.stringify(fineTune()),
        headers: { 'content-type': type },
      });
      expect(problemOf(answer)).toMatchObject({ status: 415, code: 'UnsupportedMediaType' });
    },
  );

  it('a text that no database can hold', async () => {
    const answer = await submit(fineTune({ idempotencyKey: 'nul', description: 'a\u0000b' }));
    expect(problemOf(answer)).toMatchObject({ status: 422, code: 'ValidationFailed' });
  });

  it('nothing: none of the refused bodies left a job, a reservation or a message', async () => {
    const { rows } = await gateway.database.query<{ jobs: number; reserved: number; messages: number }>(
      `select (select count(*) from jobs) as jobs, (select sum(gpu_seconds_reserved) from projects) as reserved,
              (select count(*) from bus_messages) as messages`,
    );
    expect(rows).toEqual([{ jobs: 0, reserved: 0, messages: 0 }]);
  });
});

describe('an accepted submission', () => {
  const published = async (topic: string) => {
    const subscription = await gateway.bus.subscribe({ groupId: `test-${topic}`, topics: [topic], from: 'beginning' });
    try {
      const received = await subscription.poll({ maxMessages: 100, maxWaitMs: 2_000 });
      return received.map((message) => decodeMessage(singleObjectCodec(), message));
    } finally {
      await subscription.close();
    }
  };

  it('is answered with 201, its address and every default, and starts one workflow on resolved references', async () => {
    const answer = await submit(
      fineTune(
        { idempotencyKey: 'first', priority: 'high', labels: { team: 'a' } },
        onBase('adapter/1', { method: 'full' }),
      ),
    );
    expect(answer.status).toBe(201);
    expect(answer.headers['location']).toBe(`/v1/jobs/${String(answer.body['id'])}`);
    expect(answer.body).toMatchObject({
      status: 'SUBMITTED',
      project: 'one',
      priority: 'high',
      labels: { team: 'a' },
      spec: {
        seed: 1,
        dataset: { version: 'latest' },
        hyperparameters: { batchSize: 8 },
        preprocessing: { minCharacters: 16 },
      },
    });
    const [command] = await published('orchestrator.commands');
    expect(command).toMatchObject({
      ok: true,
      message: {
        id: 'start:wf-fine_tune-one.first',
        type: 'StartWorkflow',
        key: 'wf-fine_tune-one.first',
        payload: { jobId: answer.body['id'], priority: 2, project: 'one', jobType: 'fine_tune' },
      },
    });
    if (command?.ok !== true || command.message.type !== 'StartWorkflow') throw new Error('no command');
    expect(JSON.parse(command.message.payload.inputJson)).toMatchObject({
      jobId: answer.body['id'],
      project: 'one',
      codeCommit: 'test-commit',
      configDigest: expect.stringMatching(/^[0-9a-f]{64}$/),
      dataset: { name: 'corpus', version: 1, format: 'text', bytes: 13 },
      base: {
        kind: 'model',
        model: {
          name: 'adapter',
          version: 1,
          weights: { manifestKey: 'models/base/manifest.json', digest: 'digest-of-base' },
          adapter: { manifestKey: 'models/adapter/manifest.json', digest: 'digest-of-adapter' },
        },
      },
    });
    const [event] = await published('jobs.events');
    expect(event).toMatchObject({ ok: true, message: { type: 'JobAccepted', key: 'one' } });
  });

  it('the same key with the same body is the same job, wherever the key stands and whatever defaults are spelled out', async () => {
    const first = await submit(fineTune({ idempotencyKey: 'same' }));
    const spelled = fineTune(
      { idempotencyKey: undefined, priority: 'normal', labels: {}, project: 'one' },
      { seed: 1 },
    );
    const again = await submit(spelled, { 'idempotency-key': 'same' });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body['id']).toBe(first.body['id']);
  });

  it('the same key with another body is a conflict that names the job', async () => {
    const first = await submit(fineTune({ idempotencyKey: 'other' }));
    const answer = await submit(fineTune({ idempotencyKey: 'other' }, { seed: 2 }));
    expect(problemOf(answer)).toMatchObject({ status: 409, code: 'IdempotencyConflict' });
    expect(answer.body['jobId']).toBe(first.body['id']);
  });

  it('two different keys in header and body are refused', async () => {
    const answer = await submit(fineTune({ idempotencyKey: 'k1' }), { 'idempotency-key': 'k2' });
    expect(problemOf(answer)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/idempotencyKey'] });
  });

  it('the same key in another project is another job, also where project and key together read the same', async () => {
    const b = await gateway.project('a-b');
    const a = await gateway.project('a');
    const first = await gateway.call('/v1/jobs', { key: b.submitter, body: fineTune({ idempotencyKey: 'c' }) });
    const second = await gateway.call('/v1/jobs', { key: a.submitter, body: fineTune({ idempotencyKey: 'c' }) });
    expect([first.status, second.status]).toEqual([201, 201]);
    // Joined by a dash, project `a` with key `b-c` would be the workflow of project `a-b` with key `c`.
    const third = await gateway.call('/v1/jobs', { key: a.submitter, body: fineTune({ idempotencyKey: 'b-c' }) });
    expect(third.status).toBe(201);
    expect(new Set([first, second, third].map((answer) => answer.body['id'])).size).toBe(3);
  });

  it('a dry run checks the same, needs no key and stores nothing', async () => {
    const good = await gateway.call('/v1/jobs?dryRun=true', {
      key: one.submitter,
      body: fineTune({ idempotencyKey: undefined }),
    });
    expect(good.status).toBe(200);
    expect(good.body).toMatchObject({ valid: true, gpuSecondsEstimate: expect.any(Number), spec: { seed: 1 } });
    const bad = await gateway.call('/v1/jobs?dryRun=true', {
      key: one.submitter,
      body: fineTune({}, { method: 'lora' }),
    });
    expect(problemOf(bad)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/spec/method'] });
    const { rows } = await gateway.database.query(
      `select 1 from jobs where idempotency_key = 'a-key' and project = 'one'`,
    );
    expect(rows).toEqual([]);
  });
});

it('text that no table takes is refused by its pointer, on every route with a body', async () => {
  const nul = String.fromCodePoint(0);
  const submitted = await gateway.call('/v1/jobs', {
    key: one.submitter,
    body: fineTune({ idempotencyKey: 'nul', description: nul }),
  });
  expect(problemOf(submitted)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/description'] });
  const project = await gateway.call('/v1/projects/three', { method: 'PUT', body: { displayName: `three${nul}` } });
  expect(problemOf(project)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/displayName'] });
});
