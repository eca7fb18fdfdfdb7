import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import type { TSchema } from '#typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import { HpoInput } from '#lib/contracts/hpo-job.ts';
import { RetrainInput } from '#lib/contracts/retrain-job.ts';
import { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import type { Lineage } from '#lib/model-registry/port.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { submitBatch } from '../../../services/gateway/app/submit-batch.ts';
import { commandsFor } from './bus-reader.ts';
import { fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one', { gpuSecondsBudget: 1e9 });
  await gateway.project('two');
  await upload('recent', 'text of this year');
  await upload('pairs', '{"prompt": "a", "chosen": "b", "rejected": "c"}\n', 'jsonl_preferences');
  for (const version of [1, 2]) await register('speeches', version);
  await gateway.registry.setStage('one', 'speeches', 1, 'prod');
});
afterAll(() => gateway.close());

async function upload(name: string, raw: string, format = 'text'): Promise<void> {
  const answer = await gateway.call(`/v1/datasets/${name}/versions?project=one&format=${format}`, {
    raw,
    headers: { 'content-type': format === 'text' ? 'text/plain' : 'application/jsonl' },
  });
  expect([answer.status, answer.body['format']]).toEqual([201, format]);
}

const SHAPE = { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64, vocabularySize: 512 };

async function register(name: string, version: number): Promise<void> {
  const lineage: Lineage = {
    jobId: 'job',
    runId: 'run',
    datasetName: 'corpus',
    datasetVersion: '1',
    datasetDigest: 'd',
    configDigest: 'c',
    codeCommit: 'x',
    baseModelDigest: 'b',
    evaluationReportDigest: 'e',
    manifestDigest: `digest-${version}`,
  };
  const tags = { technique: 'full', architecture: JSON.stringify(SHAPE) };
  const sourceKey = `${name}-${version}`;
  await gateway.registry.createVersion({ project: 'one', name, sourceKey, manifestKey: `m/${version}`, lineage, tags });
}

const TRAINING = {
  dataset: { name: 'corpus' },
  base: { model: 'speeches@prod' },
  method: 'full',
  model: { name: 'speeches' },
  hyperparameters: { maxSteps: 100, learningRate: 0.01 },
  evaluation: { suites: [{ suite: 'held_out_text' }] },
};
const SPECS: Record<string, Record<string, unknown>> = {
  hpo: {
    trial: TRAINING,
    space: { parameters: [{ name: 'learningRate', type: 'float', min: 0.001, max: 1, log: true }] },
    sampler: { type: 'tpe' },
    objective: { direction: 'minimize' },
    pruning: { strategy: 'livePercentile' },
    trials: 4,
    maxConcurrent: 2,
    release: { promote: true, approval: {} },
  },
  retrain: {
    model: { name: 'speeches' },
    training: TRAINING,
    comparison: {
      dataset: { name: 'recent' },
      suites: [{ suite: 'held_out_text' }],
      metric: 'held_out.bits_per_byte',
    },
    release: { promote: true, approval: {}, canary: {} },
  },
  rlhf: {
    preferences: { name: 'pairs' },
    base: { model: 'speeches/2' },
    model: { name: 'aligned' },
    algorithm: 'dpo',
    technique: 'lora',
    dpo: { maxSteps: 10, learningRate: 0.001 },
    evaluationDataset: { name: 'corpus' },
    safety: { suites: [{ suite: 'toxicity' }], policy: [{ metric: 'toxicity.share', operator: '<=', threshold: 0.1 }] },
    quality: { suites: [{ suite: 'preference_accuracy' }] },
  },
  eval_only: {
    subject: { model: 'speeches/2' },
    compareWith: [{ model: 'speeches@prod' }],
    dataset: { name: 'recent' },
    suites: [{ suite: 'held_out_text' }],
  },
};
const INPUTS: Record<string, TSchema> = {
  hpo: HpoInput,
  retrain: RetrainInput,
  rlhf: RlhfInput,
  eval_only: EvalOnlyInput,
};

const job = (type: string, key: string, change: Record<string, unknown> = {}) => ({
  type,
  idempotencyKey: key,
  spec: { ...SPECS[type], ...change },
});
const submit = (body: unknown, query = '') => gateway.call(`/v1/jobs${query}`, { key: one.submitter, body });

/** Key id of the submitter, as the API shows it. */
async function submitterId(): Promise<string> {
  const { body } = await gateway.call('/v1/projects/one/keys', { key: one.admin });
  return (body['items'] as { id: string; role: string }[]).find((key) => key.role === 'submitter')?.id ?? 'none';
}

async function startedWith(
  type: string,
  key: string,
): Promise<{ input: Record<string, unknown>; submittedBy: unknown }> {
  const [command] = await commandsFor(gateway, `wf-${type}-one.${key}`);
  if (command?.type !== 'StartWorkflow') throw new Error('no command');
  const { inputJson, submittedBy } = command.payload;
  return { input: JSON.parse(inputJson) as Record<string, unknown>, submittedBy };
}

describe.each(['hpo', 'retrain', 'rlhf', 'eval_only'])('a job of type %s', (type) => {
  it('is taken in with the input of its contract, and says who asked', async () => {
    const answer = await submit(job(type, `${type}-first`));
    expect([answer.status, answer.body['type']]).toEqual([201, type]);
    const { input, submittedBy } = await startedWith(type, `${type}-first`);
    expect([...Value.Errors(INPUTS[type] ?? {}, input)]).toEqual([]);
    expect(input).toMatchObject({ jobId: answer.body['id'], project: 'one', codeCommit: 'test-commit' });
    const by = await submitterId();
    expect([submittedBy, answer.body['submittedBy'], answer.body['parentJobId']]).toEqual([by, by, null]);
    const read = await gateway.call(`/v1/jobs/${String(answer.body['id'])}`, { key: one.viewer });
    expect(read.body).toMatchObject({ submittedBy: by, parentJobId: null, spec: answer.body['spec'] });
  });

  it('is the same job when it is asked for again, and can be tried without being stored', async () => {
    const [first, again] = [await submit(job(type, `${type}-twice`)), await submit(job(type, `${type}-twice`))];
    expect([first.status, again.status, again.body['id']]).toEqual([201, 200, first.body['id']]);
    const dry = await submit(job(type, 'never'), '?dryRun=true');
    expect(dry.body).toMatchObject({ valid: true, gpuSecondsEstimate: first.body['gpuSecondsEstimate'] });
    expect(dry.body['gpuSecondsEstimate']).toBeGreaterThan(10);
  });
});

describe('references are looked up in the project, and pinned', () => {
  it('the version in production is the champion of a search, a retrain, and the base of its training', async () => {
    expect((await startedWith('hpo', 'hpo-first')).input).toMatchObject({
      champion: 1,
      trial: { base: { model: { version: 1, weights: { digest: 'digest-1' } } }, purpose: 'trial' },
    });
    expect((await startedWith('retrain', 'retrain-first')).input).toMatchObject({
      champion: { version: 1, stage: 'prod', subject: { label: 'speeches/1' } },
      comparison: { name: 'recent', version: 1 },
      exclude: [{ name: 'recent' }],
      training: { dataset: { name: 'corpus' } },
    });
    expect((await startedWith('rlhf', 'rlhf-first')).input).toMatchObject({ champion: null, base: { version: 2 } });
  });

  it('a retrain knows when the one before it was taken in, of those that run or came to a verdict', async () => {
    const first = await gateway.call('/v1/jobs?type=retrain', { key: one.viewer });
    const [newest, oldest] = first.body['items'] as { id: string; submittedAt: string }[];
    for (const status of ['SKIPPED', 'FAILED', 'CANCELLED', 'TIMED_OUT']) {
      await gateway.database.query('update jobs set status = $2 where id = $1', [newest?.id, status]);
      const key = `after-${status.toLowerCase()}`;
      const { body } = await submit(job('retrain', key));
      expect((await startedWith('retrain', key)).input['lastRetrainAtMs']).toBe(Date.parse(oldest?.submittedAt ?? ''));
      await gateway.database.query(`update jobs set status = 'SKIPPED' where id = $1`, [body['id']]);
    }
    await gateway.database.query(`update jobs set status = 'EVAL_FAILED' where id = $1`, [newest?.id]);
    await submit(job('retrain', 'later'));
    expect((await startedWith('retrain', 'later')).input['lastRetrainAtMs']).toBe(
      Date.parse(newest?.submittedAt ?? ''),
    );
    expect((await startedWith('retrain', 'retrain-first')).input['lastRetrainAtMs']).toBeNull();
  });

  it('many datasets of one job are each found or blamed', async () => {
    const data = { exclude: [{ name: 'pairs' }, { name: 'nothing' }, { name: 'corpus', version: 7 }] };
    expect(problemOf(await submit(job('retrain', 'many', { data })))).toEqual({
      status: 422,
      code: 'ValidationFailed',
      pointers: ['/spec/data/exclude/0', '/spec/data/exclude/1/name', '/spec/data/exclude/2/version'],
    });
  });

  it('pairs of preference are no training data', async () => {
    const body = fineTune({ idempotencyKey: 'on-pairs' }, { dataset: { name: 'pairs' } });
    expect(problemOf(await submit(body)).pointers).toEqual(['/spec/dataset']);
  });

  it('a release without an approval is for whoever may approve', async () => {
    const release = { promote: true };
    const ask = (key: string) =>
      gateway.call('/v1/jobs?dryRun=true', { key, body: job('hpo', 'unasked', { release }) });
    expect(problemOf(await ask(one.submitter)).pointers).toEqual(['/spec/release/approval']);
    expect([(await ask(one.approver)).status, (await ask(one.admin)).status]).toEqual([200, 200]);
    const byPlatform = await gateway.call('/v1/jobs?dryRun=true&project=one', {
      body: job('hpo', 'unasked', { release }),
    });
    expect(byPlatform.status).toBe(200);
  });

  it('approvers are keys that may approve in the project', async () => {
    const keysOf = async (project: string, role: string) => {
      const { body } = await gateway.call(`/v1/projects/${project}/keys`);
      return (body['items'] as { id: string; role: string }[]).find((key) => key.role === role)?.id ?? 'none';
    };
    const approvers = [
      await keysOf('one', 'approver'),
      'key-typo',
      await keysOf('two', 'approver'),
      await keysOf('one', 'viewer'),
    ];
    const release = { promote: true, approval: { approvers } };
    expect(problemOf(await submit(job('rlhf', 'strangers', { release }))).pointers).toEqual(
      [1, 2, 3].map((i) => `/spec/release/approval/approvers/${i}`),
    );
  });

  it('approvers who are only the submitter can never agree', async () => {
    const release = { promote: true, approval: { approvers: [await submitterId()] } };
    expect(problemOf(await submit(job('hpo', 'alone', { release }))).pointers).toEqual([
      '/spec/release/approval/approvers',
    ]);
  });
});

describe('artifacts that are evaluated', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'trainyard-artifacts-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function stored(project: string, file: string) {
    const from = await mkdtemp(join(folder, 'model-'));
    await writeFile(join(from, file), 'weights');
    const createdBy = { jobId: 'job-9', activity: 'run_training', epoch: 1 };
    const key = `artifacts/${project}/job-9/${file}`;
    const { manifestKey, digest } = await uploadFolder(gateway.objects, from, key, { createdBy });
    return { artifact: { manifestKey, digest } };
  }
  const evaluate = async (subject: { artifact: object }) =>
    problemOf(
      await submit(job('eval_only', `artifact-${JSON.stringify(subject).length}`, { subject }), '?dryRun=true'),
    );

  it('are those of the project, by address and digest', async () => {
    const mine = await stored('one', 'model.safetensors');
    expect((await evaluate(mine)).status).toBe(200);
    const refused = { status: 422, code: 'ValidationFailed', pointers: ['/spec/subject/artifact'] };
    expect(await evaluate({ artifact: { ...mine.artifact, digest: 'a'.repeat(64) } })).toEqual(refused);
    expect(await evaluate({ artifact: { ...mine.artifact, manifestKey: 'artifacts/one/none/manifest.json' } })).toEqual(
      refused,
    );
    expect(await evaluate(await stored('two', 'model.safetensors'))).toEqual(refused);
    expect(await evaluate(await stored('one', 'adapter_config.json'))).toEqual(refused);
  });
});

it('a batch of every type is one look at the database, and each gets its own answer', async () => {
  const request = (body: Record<string, unknown>) => ({ project: 'one', body, submittedBy: 'key-x' });
  const bad = job('eval_only', 'batch-bad', { subject: { model: 'speeches/9' } });
  const results = await submitBatch(gateway.services.gateway, [
    request(job('retrain', 'batch-1')),
    request(bad),
    request(fineTune({ idempotencyKey: 'batch-2' })),
    request(job('rlhf', 'batch-3')),
    { ...request(job('hpo', 'batch-4')), project: 'nowhere' },
  ]);
  expect(results.map(({ kind }) => kind)).toEqual(['created', 'refused', 'created', 'created', 'refused']);
  expect((await startedWith('rlhf', 'batch-3')).input).toMatchObject({
    preferences: { name: 'pairs' },
    evaluation: { name: 'corpus' },
  });
  expect((await startedWith('retrain', 'batch-1')).submittedBy).toBe('key-x');
});
