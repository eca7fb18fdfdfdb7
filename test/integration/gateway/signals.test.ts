import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandsFor } from './bus-reader.ts';
import { fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one', { gpuSecondsBudget: 1e9 });
});
afterAll(() => gateway.close());

async function submit(idempotencyKey: string): Promise<string> {
  const answer = await gateway.call('/v1/jobs', { key: one.submitter, body: fineTune({ idempotencyKey }) });
  return String(answer.body['id']);
}
const setStatus = (id: string, status: string) =>
  gateway.database.query('update jobs set status = $2 where id = $1', [id, status]);
const ask = (id: string, signal: string, call: { key?: string; body?: unknown } = {}) =>
  gateway.call(`/v1/jobs/${id}/${signal}`, { key: one.submitter, method: 'POST', ...call });
const activity = (key: string, activityId: string, name = activityId) =>
  gateway.database.query(
    `insert into activities (workflow_id, activity_id, name, lane, state, epoch, queued_at_ms, start_to_close_ms)
     values ('wf-fine_tune-one.' || $1, $2, $3, 'gpu', 'failed', 1, 0, 1000)`,
    [key, activityId, name],
  );
const signalsTo = async (key: string) =>
  (await commandsFor(gateway, `wf-fine_tune-one.${key}`)).flatMap((message) =>
    message.type === 'SignalWorkflow' ? [message] : [],
  );

describe('pause, resume and retry', () => {
  it('are signals to the workflow, answered with the job as it is', async () => {
    const id = await submit('stepwise');
    expect(await ask(id, 'pause', { body: { reason: 'lunch' } })).toMatchObject({ status: 202, body: { id } });
    await setStatus(id, 'PAUSED');
    expect((await ask(id, 'resume')).status).toBe(202);
    await setStatus(id, 'FAILED');
    await activity('stepwise', 'run_training');
    expect((await ask(id, 'retry')).status).toBe(202);
    const sent = await signalsTo('stepwise');
    expect(sent.map(({ payload }) => [payload.signal, JSON.parse(payload.dataJson)])).toEqual([
      ['pause', { reason: 'lunch' }],
      ['resume', {}],
      ['retry', {}],
    ]);
    expect(new Set(sent.map(({ payload }) => payload.requestedBy)).size).toBe(1);
    expect(sent[0]?.payload.requestedBy).toMatch(/^key-/);
  });

  it('are messages of their own each time: a job is paused more than once', async () => {
    const id = await submit('again');
    for (let i = 0; i < 2; i++) expect((await ask(id, 'pause')).status).toBe(202);
    const sent = await signalsTo('again');
    expect(new Set(sent.map((message) => message.id)).size).toBe(2);
    expect(JSON.parse(sent[0]?.payload.dataJson ?? '')).toEqual({ reason: null });
  });

  it.each([
    ['pause', ['COMPLETED', 'FAILED', 'CANCELLED', 'ROLLED_BACK', 'SAFETY_FAILED']],
    ['resume', ['RUNNING', 'QUEUED', 'FAILED', 'COMPLETED']],
    ['retry', ['RUNNING', 'PAUSED', 'COMPLETED', 'CANCELLED', 'EVAL_FAILED', 'TIMED_OUT']],
  ])('%s is refused when the job is none of those it means something for', async (signal, statuses) => {
    const id = await submit(`refused-${signal}`);
    for (const status of statuses) {
      await setStatus(id, status);
      const answer = await ask(id, signal);
      expect(problemOf(answer)).toMatchObject({ status: 409, code: 'StateConflict' });
      expect(answer.body['jobStatus']).toBe(status);
    }
    expect(await signalsTo(`refused-${signal}`)).toEqual([]);
  });

  it('retry is refused where the orchestrator would ignore it: no step failed, several, one of many, or a child', async () => {
    const refusal = async (id: string) => {
      await setStatus(id, 'FAILED');
      const answer = await ask(id, 'retry');
      expect(problemOf(answer)).toMatchObject({ status: 409, code: 'StateConflict' });
      return String(answer.body['detail']);
    };
    const id = await submit('stepless');
    expect(await refusal(id)).toMatch(/no single step/);
    await activity('stepless', 'run_training/2', 'run_training');
    expect(await refusal(id)).toMatch(/no single step/);
    const two = await submit('two-steps');
    for (const step of ['run_training', 'upload']) await activity('two-steps', step);
    expect(await refusal(two)).toMatch(/no single step/);
    const parent = await submit('parent');
    await gateway.database.query('update jobs set parent_job_id = $2 where id = $1', [id, parent]);
    expect(await refusal(parent)).toContain(`retry its child ${id}`);
    expect([...(await signalsTo('stepless')), ...(await signalsTo('parent'))]).toEqual([]);
  });

  it('need the role submitter, and a job of the project', async () => {
    const id = await submit('rights');
    const two = await gateway.project('two');
    for (const signal of ['pause', 'resume', 'retry']) {
      expect(problemOf(await ask(id, signal, { key: one.viewer }))).toMatchObject({ status: 403, code: 'Forbidden' });
      expect(problemOf(await ask(id, signal, { key: two.admin }))).toMatchObject({ status: 404, code: 'NotFound' });
      expect(problemOf(await ask(id, signal, { body: { force: true } }))).toMatchObject({ pointers: ['/force'] });
    }
  });
});

describe('jobs that another job started', () => {
  const SPACE = {
    parameters: [
      { name: 'method', type: 'categorical', choices: ['full'] },
      { name: 'learningRate', type: 'float', min: 0.001, max: 1, log: true },
      { name: 'lora.r', type: 'int', min: 1, max: 4, when: { parameter: 'method', equals: 'full' } },
    ],
  };
  let search: string;
  let single: string;
  beforeAll(async () => {
    const trial = fineTune()['spec'];
    const space = { parameters: [SPACE.parameters[1]] };
    const spec = {
      trial,
      space,
      sampler: { type: 'random' },
      objective: { direction: 'minimize' },
      pruning: { strategy: 'none' },
      trials: 4,
      maxConcurrent: 4,
    };
    const body = { type: 'hpo', idempotencyKey: 'search', spec };
    search = String((await gateway.call('/v1/jobs', { key: one.submitter, body })).body['id']);
    single = await submit('single');
    for (const [n, [status, rate]] of (
      [
        ['COMPLETED', 0.5],
        ['PAUSED', 0.25],
        ['RUNNING', 0.125],
      ] as const
    ).entries())
      await child(n, status, { ...(trial as object), hyperparameters: { maxSteps: 100, learningRate: rate } });
  });

  /** As the orchestrator writes a child: its row, its workflow, and what it has used and reported. */
  async function child(n: number, status: string, spec: object): Promise<void> {
    const id = `job-child-${n}`;
    const workflow = `wf-fine_tune-child-${n}`;
    const { database } = gateway;
    await database.query(
      `select orchestrator_save_children(array[$1], array[$2], array['fine_tune'], array[$3], array[$4], array[$5::jsonb], array[$6::bigint])`,
      [id, search, `.trial-${n}`, workflow, JSON.stringify(spec), Date.now() + n],
    );
    await setStatus(id, status);
    if (n === 2) return;
    await database.query(
      `insert into job_metrics (job_id, name, step, value, epoch) values ($1, 'validation.loss', 50, 2.5, 1), ($1, 'validation.loss', 100, $2, 1)`,
      [id, 2 - n],
    );
    await database.query(
      `insert into activities (workflow_id, activity_id, name, lane, state, epoch, queued_at_ms, start_to_close_ms, useful_ms, lost_ms, waiting_ms)
       values ($1, 'run_training', 'run_training', 'gpu', 'done', 1, 0, 1000, 3000, 1000, 9), ($1, 'upload', 'upload', 'cpu', 'done', 1, 0, 1000, 5000, 0, 9)`,
      [workflow],
    );
  }
  const list = async (query: string) => {
    const { body } = await gateway.call(`/v1/jobs?${query}&limit=100`, { key: one.viewer });
    return (body['items'] as { id: string }[]).map(({ id }) => id);
  };

  it('are left out of the list unless they are asked for', async () => {
    const shown = await list('type=fine_tune');
    expect([shown.includes(single), shown.some((id) => id.startsWith('job-child'))]).toEqual([true, false]);
    expect(await list(`parent=${search}`)).toEqual(['job-child-2', 'job-child-1', 'job-child-0']);
    expect(await list(`parent=${search}&status=PAUSED`)).toEqual(['job-child-1']);
    expect(await list('includeChildren=true&type=fine_tune')).toEqual(expect.arrayContaining(['job-child-0', single]));
    expect(await list('parent=job-none')).toEqual([]);
  });

  it('are jobs like any other: shown with their parent, cancelled, resumed', async () => {
    const { body } = await gateway.call('/v1/jobs/job-child-1', { key: one.viewer });
    expect(body).toMatchObject({ parentJobId: search, links: { parent: `/v1/jobs/${search}` } });
    expect(body['submittedBy']).toMatch(/^key-/);
    expect((await ask('job-child-1', 'resume')).status).toBe(202);
    expect((await ask('job-child-2', 'cancel')).status).toBe(202);
    const [signal] = await commandsFor(gateway, 'wf-fine_tune-child-1');
    expect(signal).toMatchObject({ type: 'SignalWorkflow', payload: { signal: 'resume' } });
  });

  it('are the trials of a search: configuration, newest point, and a value only when one has completed', async () => {
    const { body } = await gateway.call(`/v1/jobs/${search}/trials`, { key: one.viewer });
    expect(body).toMatchObject({ jobId: search, metric: 'validation.loss', direction: 'minimize', result: null });
    expect(body['items']).toMatchObject([
      {
        number: 0,
        jobId: 'job-child-0',
        status: 'COMPLETED',
        configuration: { learningRate: 0.5 },
        value: 2,
        lastReport: { step: 100, value: 2 },
        gpuSeconds: 4,
      },
      {
        number: 1,
        status: 'PAUSED',
        configuration: { learningRate: 0.25 },
        value: null,
        lastReport: { step: 100, value: 1 },
      },
      {
        number: 2,
        status: 'RUNNING',
        configuration: { learningRate: 0.125 },
        value: null,
        lastReport: null,
        gpuSeconds: 0,
      },
    ]);
    const none = await gateway.call(`/v1/jobs/${single}/trials`, { key: one.viewer });
    expect(problemOf(none)).toMatchObject({ status: 404, code: 'NotFound' });
  });

  it('are deleted with their parent and not alone, once none of them goes on; one that rests may', async () => {
    const remove = (id: string) => gateway.call(`/v1/jobs/${id}`, { key: one.submitter, method: 'DELETE' });
    const alone = await remove('job-child-0');
    expect(problemOf(alone)).toMatchObject({ status: 409, code: 'StateConflict' });
    expect(alone.body['detail']).toContain(search);
    await setStatus(search, 'COMPLETED');
    expect(problemOf(await remove(search))).toMatchObject({ status: 409, code: 'StateConflict' });
    await setStatus('job-child-2', 'FAILED');
    expect((await remove(search)).status).toBe(204);
    for (const id of [search, 'job-child-0', 'job-child-1', 'job-child-2'])
      expect((await gateway.call(`/v1/jobs/${id}`, { key: one.viewer })).status).toBe(404);
    expect(problemOf(await remove(search))).toMatchObject({ status: 404 });
    expect(await list(`parent=${search}`)).toEqual([]);
  });
});
