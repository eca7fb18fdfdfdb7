import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '#lib/kernel/canonical-json.ts';
import { sha256Of } from '#lib/object-store/durable-files.ts';
import { fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
});
afterAll(() => gateway.close());

const submit = async (key: string, change: Record<string, unknown> = {}): Promise<string> => {
  const answer = await gateway.call('/v1/jobs', {
    key: one.submitter,
    body: fineTune({ idempotencyKey: key, ...change }),
  });
  expect(answer.status).toBe(201);
  return String(answer.body['id']);
};
const setStatus = (id: string, status: string) =>
  gateway.database.query('update jobs set status = $2 where id = $1', [id, status]);

describe('listing', () => {
  let lister: ProjectKeys;
  beforeAll(async () => {
    lister = await gateway.project('lists');
    for (let i = 0; i < 7; i++) {
      const body = fineTune({
        idempotencyKey: `n${i}`,
        labels: { parity: i % 2 === 0 ? 'even' : 'odd', n: String(i) },
      });
      await gateway.call('/v1/jobs', { key: lister.submitter, body });
    }
    // Equal times: the id decides, and no page loses or repeats one.
    await gateway.database.query(`update jobs set submitted_at = '2026-01-01' where project = 'lists'`);
    await gateway.database.query(
      `update jobs set status = 'COMPLETED' where project = 'lists' and idempotency_key in ('n1', 'n3')`,
    );
  });
  const list = async (query: string) => {
    const { body, status } = await gateway.call(`/v1/jobs?${query}`, { key: lister.viewer });
    expect(status).toBe(200);
    const items = body['items'] as { idempotencyKey: string }[];
    return { keys: items.map((item) => item.idempotencyKey), next: body['nextCursor'] as string | null };
  };

  it('pages through all jobs, newest first, each once', async () => {
    const pages: string[][] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { keys, next }: { keys: string[]; next: string | null } = await list(`limit=3${cursor}`);
      pages.push(keys);
      cursor = next === null ? null : `&cursor=${next}`;
    }
    expect(pages).toEqual([['n6', 'n5', 'n4'], ['n3', 'n2', 'n1'], ['n0']]);
  });

  it('has no cursor when the last page is exactly full', async () => {
    expect((await list('limit=7')).next).toBeNull();
  });

  it('filters by status, type and labels', async () => {
    expect((await list('status=COMPLETED')).keys).toEqual(['n3', 'n1']);
    expect((await list('status=COMPLETED&status=SUBMITTED&limit=100')).keys).toHaveLength(7);
    expect((await list('type=hpo')).keys).toEqual([]);
    expect((await list('label=parity:even')).keys).toEqual(['n6', 'n4', 'n2', 'n0']);
    expect((await list('label=parity:even&label=n:4')).keys).toEqual(['n4']);
  });

  it.each([
    ['limit=0', '/query/limit'],
    ['limit=many', '/query/limit'],
    ['limit=201', '/query/limit'],
    ['cursor=xyz', '/query/cursor'],
    [`cursor=${Buffer.from('["2026-99-99 00:00:00+00","x"]').toString('base64url')}`, '/query/cursor'],
    [`cursor=${Buffer.from(`["' or 1=1 --","x"]`).toString('base64url')}`, '/query/cursor'],
    ['status=HAPPY', '/query/status/0'],
    ['label=novalue', '/query/label/0'],
    ['colour=red', '/query/colour'],
  ])('refuses %s', async (query, pointer) => {
    const answer = await gateway.call(`/v1/jobs?${query}`, { key: lister.viewer });
    expect(problemOf(answer)).toEqual({ status: 422, code: 'ValidationFailed', pointers: [pointer] });
  });
});

describe('cancel', () => {
  it('is one command however often it is asked for, and the job is answered with 202', async () => {
    const id = await submit('to-cancel');
    for (let i = 0; i < 2; i++) {
      const answer = await gateway.call(`/v1/jobs/${id}/cancel`, { key: one.submitter, method: 'POST' });
      expect([answer.status, answer.body['id']]).toEqual([202, id]);
    }
    const { rows } = await gateway.database.query<{ id: string }>(
      `select distinct headers::jsonb ->> 'ce_id' as id from bus_messages where key = 'wf-fine_tune-one.to-cancel' and headers::text like '%CancelJob%'`,
    );
    expect(rows).toEqual([{ id: 'cancel:wf-fine_tune-one.to-cancel' }]);
  });

  it.each(['COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT', 'EVAL_FAILED'])(
    'of a job that is %s is a conflict',
    async (status) => {
      const id = await submit(`done-${status}`);
      await setStatus(id, status);
      const answer = await gateway.call(`/v1/jobs/${id}/cancel`, { key: one.submitter, body: { reason: 'late' } });
      expect(problemOf(answer)).toMatchObject({ status: 409, code: 'StateConflict' });
      expect(answer.body).toMatchObject({ jobStatus: status });
    },
  );

  it('refuses unknown fields and unknown jobs', async () => {
    const id = await submit('cancel-odd');
    const answer = await gateway.call(`/v1/jobs/${id}/cancel`, { key: one.submitter, body: { force: true } });
    expect(problemOf(answer)).toMatchObject({ status: 422, pointers: ['/force'] });
    expect((await gateway.call('/v1/jobs/job-x/cancel', { key: one.submitter, method: 'POST' })).status).toBe(404);
    expect((await gateway.call('/v1/jobs/%00', { key: one.submitter })).status).toBeLessThan(500);
    expect((await gateway.call('/v1/jobs/%E0%A4%A', { key: one.submitter })).status).toBe(404);
  });
});

describe('change and delete', () => {
  it('labels and description are replaced, the rest is not touched', async () => {
    const id = await submit('change', { labels: { a: '1' }, description: 'before' });
    const call = (body: unknown) => gateway.call(`/v1/jobs/${id}`, { key: one.submitter, method: 'PATCH', body });
    expect((await call({ labels: { b: '2' } })).body).toMatchObject({ labels: { b: '2' }, description: 'before' });
    expect((await call({ description: 'after' })).body).toMatchObject({ labels: { b: '2' }, description: 'after' });
    expect(problemOf(await call({}))).toMatchObject({ status: 422, pointers: [''] });
    expect(problemOf(await call({ status: 'COMPLETED' }))).toMatchObject({ status: 422, pointers: ['/status'] });
    expect(problemOf(await call({ labels: { 'trainyard.deleted': 'x' } }))).toMatchObject({ status: 422 });
  });

  it('only an ended job can be deleted; then it is gone everywhere, and its key stays used', async () => {
    const id = await submit('delete');
    const remove = () => gateway.call(`/v1/jobs/${id}`, { key: one.submitter, method: 'DELETE' });
    expect(problemOf(await remove())).toMatchObject({ status: 409, code: 'StateConflict' });
    await setStatus(id, 'COMPLETED');
    expect((await remove()).status).toBe(204);
    expect((await remove()).status).toBe(404);
    expect((await gateway.call(`/v1/jobs/${id}`, { key: one.viewer })).status).toBe(404);
    expect((await gateway.call('/v1/jobs', { key: one.viewer })).text).not.toContain(id);
    const again = await gateway.call('/v1/jobs', { key: one.submitter, body: fineTune({ idempotencyKey: 'delete' }) });
    expect(problemOf(again)).toMatchObject({ status: 409, code: 'IdempotencyConflict' });
  });
});

describe('details of a job', () => {
  let id: string;
  let workflowId: string;
  beforeAll(async () => {
    id = await submit('detailed');
    workflowId = 'wf-fine_tune-one.detailed';
  });
  const get = (what: string) => gateway.call(`/v1/jobs/${id}/${what}`, { key: one.viewer });
  const logCompletion = (seq: number, activityId: string, output: unknown) =>
    gateway.database.query(
      `insert into events (workflow_id, seq, type, data, message_id, at_ms, state) values ($1, $2, 'ActivityCompleted', $3, $4, 0, 's')`,
      [workflowId, seq, JSON.stringify({ activityId, epoch: 1, output }), `m${seq}`],
    );

  it('lane seconds are summed over the activities', async () => {
    for (const [name, useful, lost, waiting] of [
      ['validate_dataset', 1_500, 0, 20],
      ['run_training', 10_000, 2_500, 480],
    ] as const)
      await gateway.database.query(
        `insert into activities (workflow_id, activity_id, name, lane, state, epoch, queued_at_ms, start_to_close_ms, useful_ms, lost_ms, waiting_ms)
         values ($1, $2, $2, 'cpu', 'done', 1, $6, 1000, $3, $4, $5)`,
        [workflowId, name, useful, lost, waiting, useful],
      );
    const job = await gateway.call(`/v1/jobs/${id}`, { key: one.viewer });
    expect(job.body['laneSeconds']).toEqual({ useful: 11.5, lost: 2.5, waiting: 0.5 });
    expect((await get('activities')).body['items']).toMatchObject([
      { id: 'validate_dataset', laneSeconds: { useful: 1.5 } },
      { id: 'run_training', state: 'done', laneSeconds: { lost: 2.5 } },
    ]);
  });

  it('training curves come by name; a long one is thinned out and keeps its ends', async () => {
    await gateway.database.query(
      `insert into job_metrics (job_id, name, step, value, epoch) select $1, 'loss', s, 1.0 / s, 1 from generate_series(1, 1000) s`,
      [id],
    );
    await gateway.database.query(
      `insert into job_metrics (job_id, name, step, value, epoch, activity) values ($1, 'validation_loss', 1000, 0.5, 1, 'a'), ($1, 'validation_loss', 1, 0.7, 1, 'b')`,
      [id],
    );
    const full = await get('metrics');
    expect(full.body['series']).toMatchObject([
      { name: 'loss', total: 1000 },
      // Two activities that report a curve of one name are two curves.
      { name: 'validation_loss', activity: 'a', total: 1, points: [{ step: 1000, value: 0.5 }] },
      { name: 'validation_loss', activity: 'b', total: 1, points: [{ step: 1, value: 0.7 }] },
    ]);
    for (const maxPoints of [2, 3, 10, 37, 999]) {
      const { body } = await get(`metrics?name=loss&maxPoints=${maxPoints}`);
      const [thin] = body['series'] as [{ points: { step: number }[] }];
      expect(thin.points.length).toBeLessThanOrEqual(maxPoints);
      expect(thin.points.length).toBeGreaterThan(maxPoints / 2);
      expect([thin.points[0]?.step, thin.points.at(-1)?.step]).toEqual([1, 1000]);
    }
    expect((await get('metrics?name=loss&afterStep=998')).body['series']).toMatchObject([
      { points: [{ step: 999 }, { step: 1000 }] },
    ]);
  });

  it('training curves keep the highest attempt of each activity; an orchestrator of the release before writes that of training', async () => {
    const curved = await submit('curved');
    const save = (activity: string, epoch: number, value: number) =>
      gateway.database.query(
        `select orchestrator_save_progress('{}', '{}', '{}', '{}', array[$1], array[$2], array['train.loss'], array[1], array[$3::float8], array[$4::int])`,
        [curved, activity, value, epoch],
      );
    await save('train_reward_model', 3, 0.5);
    await save('run_alignment_training', 1, 0.25);
    await save('train_reward_model', 2, 9);
    await gateway.database.query(
      `select orchestrator_save_progress('{}', '{}', '{}', '{}', array[$1], array['train.loss'], array[1], array[0.75::float8], array[1])`,
      [curved],
    );
    const { body } = await gateway.call(`/v1/jobs/${curved}/metrics`, { key: one.viewer });
    expect(body['series']).toMatchObject([
      { activity: 'run_alignment_training', points: [{ step: 1, value: 0.25 }] },
      { activity: 'run_training', points: [{ step: 1, value: 0.75 }] },
      { activity: 'train_reward_model', points: [{ step: 1, value: 0.5 }] },
    ]);
  });

  it('artifacts are the manifest that the upload recorded; before that, 404', async () => {
    expect(problemOf(await get('artifacts'))).toMatchObject({ status: 404, code: 'NotFound' });
    const manifest = {
      format: 'trainyard-manifest/1',
      createdBy: { jobId: id, activity: 'upload_artifacts', epoch: 3 },
      files: [{ path: 'model.safetensors', key: 'jobs/x/model', bytes: 5, sha256: 'a'.repeat(64), partSize: 1024 }],
    };
    const text = canonicalJson(manifest);
    await gateway.objects.put('jobs/x/manifest.json', Buffer.from(text));
    const artifacts = { manifestKey: 'jobs/x/manifest.json', digest: sha256Of(text) };
    await logCompletion(1, 'upload_artifacts', {
      artifacts,
      runId: 'r',
      files: [],
      uploadedFiles: 1,
      uploadedBytes: 5,
    });
    expect((await get('artifacts')).body).toEqual({ jobId: id, ...artifacts, epoch: 3, files: manifest.files });
  });

  it('lineage is that of the version the job registered; before that, 404', async () => {
    expect(problemOf(await get('lineage'))).toMatchObject({ status: 404, code: 'NotFound' });
    const lineage = {
      jobId: id,
      runId: 'run',
      datasetName: 'corpus',
      datasetVersion: '1',
      datasetDigest: 'd',
      configDigest: 'c',
      codeCommit: 'x',
      baseModelDigest: 'b',
      evaluationReportDigest: 'e',
      manifestDigest: 'm',
    };
    await gateway.registry.createVersion({
      project: 'one',
      name: 'result',
      sourceKey: id,
      manifestKey: 'k',
      lineage,
      tags: {},
    });
    await logCompletion(2, 'register_model', { name: 'result', version: 1, stage: 'dev', lineage });
    expect((await get('lineage')).body).toMatchObject({ name: 'result', version: 1, stage: 'dev', lineage });
    // Of a retrain: what its child registered.
    const ended = async (key: string, status: string, result: object): Promise<string> => {
      const job = await submit(key);
      const change = `update jobs set type = 'retrain', status = $2, result = $3 where id = $1`;
      await gateway.database.query(change, [job, status, JSON.stringify(result)]);
      return job;
    };
    const retrain = await ended('retrained', 'COMPLETED', { model: { name: 'result', version: 1, stage: 'dev' } });
    const ofRetrain = await gateway.call(`/v1/jobs/${retrain}/lineage`, { key: one.viewer });
    expect(ofRetrain.body).toMatchObject({ name: 'result', version: 1 });
    const skipped = await ended('skipped', 'SKIPPED', { reason: 'a storm' });
    for (const what of ['lineage', 'artifacts']) {
      const none = await gateway.call(`/v1/jobs/${skipped}/${what}`, { key: one.viewer });
      expect(none.status).toBe(404);
      expect(none.body['detail']).toMatch(/^the job ended SKIPPED and has no/);
    }
    const models = await gateway.call('/v1/models', { key: one.viewer });
    expect(models.body['items']).toEqual([{ name: 'result', latestVersion: 1, versions: 1 }]);
    const versions = await gateway.call('/v1/models/result/versions', { key: one.viewer });
    expect(versions.body['items']).toMatchObject([{ version: 1, lineage }]);
    expect((await gateway.call('/v1/models/none/versions', { key: one.viewer })).status).toBe(404);
  });
});

describe('projects', () => {
  it('PUT creates with defaults and changes only what it names', async () => {
    const put = (body: unknown) => gateway.call('/v1/projects/p', { method: 'PUT', body });
    expect((await put({ gpuSecondsBudget: 100 })).body).toMatchObject({ tier: 'standard', gpuSecondsFree: 100 });
    expect((await put({ displayName: 'P', tier: 'premium', maxRunningWorkflows: 2 })).body).toMatchObject({
      displayName: 'P',
      tier: 'premium',
      maxRunningWorkflows: 2,
      gpuSecondsBudget: 100,
    });
    expect(problemOf(await put({ gpuSecondsBudget: -1 }))).toMatchObject({
      status: 422,
      pointers: ['/gpuSecondsBudget'],
    });
    expect(problemOf(await put({ gpuSecondsUsed: 0 }))).toMatchObject({ status: 422, pointers: ['/gpuSecondsUsed'] });
    const bad = await gateway.call('/v1/projects/Bad_Name', { method: 'PUT', body: {} });
    expect(problemOf(bad)).toMatchObject({ status: 422, pointers: ['/path/id'] });
  });

  it('lanes show slots and queue', async () => {
    await gateway.database.query(
      `insert into workers (worker_id, incarnation, lane, slots, running, partitions, started_at_ms, last_seen_ms)
       values ('gpu-0', 'i', 'gpu', 2, 1, '{0}', 1, 2)`,
    );
    const lanes = await gateway.call('/v1/lanes', { key: one.viewer });
    expect(lanes.body['items']).toMatchObject([
      { lane: 'cpu', slots: 0 },
      { lane: 'gpu', slots: 2, free: 2 },
    ]);
    const workers = await gateway.call('/v1/workers', { key: one.viewer });
    expect(workers.body['items']).toMatchObject([{ id: 'gpu-0', running: 1, lastSeenAt: '1970-01-01T00:00:00.002Z' }]);
  });
});
