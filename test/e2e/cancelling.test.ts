import { beforeAll, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { inTheAct } from '../support/e2e/in-the-act.ts';
import { expectNothingLeft } from '../support/e2e/invariants.ts';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { lockTable, slowDown, trainerOf } from '../support/e2e/process-faults.ts';
import type { ActivityView, Job, RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { SCENARIO } from '../support/fixtures/trainers/scenarios.ts';

const get = e2ePlatform({
  overrides: {
    'gpu-worker': { TRAINER_COMMAND: SCRIPTED_TRAINER },
    // A back-off that no test waits for.
    orchestrator: { RETRY_INITIAL_MS: '600000' },
  },
});

const isRunning = ({ state }: ActivityView): boolean => state === 'running';

// Before any job: a new project's cap takes effect within a second.
beforeAll(async () => {
  await get().project('none-may-run', { maxRunningWorkflows: 0 });
});

/** Asks for the end and waits for it: nothing is registered, nothing is left on a lane or in the budget. */
async function cancelled(client: RestClient, { id }: Job): Promise<Job> {
  const answer = await client.cancel(id);
  expect(answer.id).toBe(id);
  const job = await client.finishedAs(id, 'CANCELLED', 15_000);
  expect(job).toMatchObject({ result: null, step: 'cancelled' });
  const events = await client.events(id);
  expect(events.map(({ type }) => type)).toContain('CancelRequested');
  for (const { state } of await client.activities(id)) expect(['done', 'cancelled']).toContain(state);
  await expectNothingLeft(client);
  return job;
}

/** What was cancelled holds nothing: the next job of the project runs through, and alone has a version. */
async function expectNextCompletes(client: RestClient): Promise<void> {
  const next = await client.submit(tinyJob({ key: 'next' }));
  await client.finishedAs(next.id, 'COMPLETED');
  const models = await client.request<{ items: { name: string }[] }>(`/v1/models?project=${client.project}`);
  expect(models.items.map(({ name }) => name)).toEqual(['next']);
}

// The states of a job, in the order of its life.
describe('cancelling a job', () => {
  it('that no orchestrator has seen yet (SUBMITTED) ends it before it ever runs', async () => {
    const client = await get().project('cancel-submitted');
    const pid = get().pidOf('orchestrator');
    process.kill(pid, 'SIGSTOP');
    const job = await client.submit(tinyJob({ key: 'submitted' }));
    const answer = await client.cancel(job.id);
    expect(answer.status).toBe('SUBMITTED');
    process.kill(pid, 'SIGCONT');
    await client.finishedAs(job.id, 'CANCELLED', 15_000);
    expect((await client.activities(job.id)).map(({ startedAt }) => startedAt)).toEqual([null]);
    await expectNothingLeft(client);
  });

  it('that waits for the project cap ends it before it ever runs', async () => {
    const client = get().client('none-may-run');
    const job = await client.submit(tinyJob({ key: 'queued' }));
    await client.activityIs(job.id, 'validate_dataset', ({ state }) => state === 'queued');
    await cancelled(client, job);
    expect(await client.activity(job.id, 'validate_dataset')).toMatchObject({ state: 'cancelled', startedAt: null });
  });

  it('that lies with a worker that does not answer ends it, and what the worker says later changes nothing', async () => {
    const platform = get();
    const client = await platform.project('cancel-placed');
    const pid = platform.pidOf('cpu-worker');
    process.kill(pid, 'SIGSTOP');
    const job = await client.submit(tinyJob({ key: 'placed' }));
    await client.activityIs(job.id, 'validate_dataset', ({ state }) => state === 'placed');
    await client.cancel(job.id);
    const ended = await client.finishedAs(job.id, 'CANCELLED', 15_000);
    process.kill(pid, 'SIGCONT');
    // The worker takes the next job, behind whatever it still had of this one.
    await expectNextCompletes(client);
    expect(await client.job(job.id)).toEqual(ended);
    expect((await client.activities(job.id)).map(({ name, state }) => [name, state])).toEqual([
      ['validate_dataset', 'cancelled'],
    ]);
    await expectNothingLeft(client);
  });

  // Each of these steps takes a few milliseconds: the worker is made slow, so that it is asked with the step in its hands.
  it.each(['validate_dataset', 'preprocess_data', 'prepare_workspace'])(
    'in %s ends it, and what the worker says later changes nothing',
    async (activity) => {
      const platform = get();
      const client = await platform.project(`cancel-${activity.replace('_', '-')}`);
      const slow = slowDown(platform.pidOf('cpu-worker'));
      const cancelling = inTheAct(client, activity, async ({ id }) => {
        await client.cancel(id);
        const job = await client.finishedAs(id, 'CANCELLED', 15_000);
        return (await client.activity(id, activity))?.state === 'cancelled' ? job : null;
      });
      await Promise.allSettled([cancelling]);
      await slow.atFullSpeed();
      const ended = await cancelling;
      expect(await client.activity(ended.id, activity)).toMatchObject({ state: 'cancelled', epoch: 1 });
      await expectNextCompletes(client);
      expect(await client.job(ended.id)).toEqual(ended);
      await expectNothingLeft(client);
    },
  );

  it('between two steps, when it waits for a slot that another job has, frees its place', async () => {
    const client = await get().project('cancel-between');
    const other = await client.submit(tinyJob({ key: 'other', seed: SCENARIO.endless }));
    await client.activityIs(other.id, 'run_training', isRunning);
    const job = await client.submit(tinyJob({ key: 'between' }));
    await client.activityIs(job.id, 'run_training', ({ state }) => state === 'queued');
    await client.cancel(job.id);
    await client.finishedAs(job.id, 'CANCELLED', 15_000);
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ state: 'cancelled', startedAt: null });
    expect((await client.job(other.id)).status).toBe('RUNNING');
    await cancelled(client, other);
    await expectNextCompletes(client);
  });

  it.each([
    ['training', 'run_training', SCENARIO.endless],
    ['evaluation', 'run_evaluation', SCENARIO.longFirstEvaluation],
  ])('in %s ends the training program and frees its slot', async (name, activity, seed) => {
    const client = await get().project(`cancel-${name}`);
    const job = await client.submit(tinyJob({ key: name, seed }));
    await client.activityIs(job.id, activity, isRunning);
    const trainer = await trainerOf(get().pidOf('gpu-worker'));
    await cancelled(client, job);
    expect(await client.activity(job.id, activity)).toMatchObject({ state: 'cancelled', epoch: 1 });
    await eventually(async () => (await processIdentity(trainer)) === null);
    await expectNextCompletes(client);
  });

  it('in training whose worker hangs ends it at once; the worker ends the program when it is back', async () => {
    const platform = get();
    const client = await platform.project('cancel-hung');
    const job = await client.submit(tinyJob({ key: 'hung', seed: SCENARIO.endless }));
    await client.activityIs(job.id, 'run_training', isRunning);
    const pid = platform.pidOf('gpu-worker');
    const trainer = await trainerOf(pid);
    process.kill(pid, 'SIGSTOP');
    await client.cancel(job.id);
    const ended = await client.finishedAs(job.id, 'CANCELLED', 1_500);
    process.kill(pid, 'SIGCONT');
    await eventually(async () => (await processIdentity(trainer)) === null);
    await expectNextCompletes(client);
    expect(await client.job(job.id)).toEqual(ended);
  });

  it('that waits for its next attempt after a failure ends it without that attempt', async () => {
    const client = await get().project('cancel-backing-off');
    const job = await client.submit(tinyJob({ key: 'backing-off', seed: SCENARIO.fails }));
    await client.activityIs(job.id, 'run_training', ({ state, failures }) => state === 'queued' && failures === 1);
    await cancelled(client, job);
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ state: 'cancelled', epoch: 2, failures: 1 });
    await expectNextCompletes(client);
  });

  it('that its worker gave back (SIGTERM) ends it before another one takes it', async () => {
    const platform = get();
    const client = await platform.project('cancel-yielded');
    const job = await client.submit(tinyJob({ key: 'yielded', seed: SCENARIO.endless }));
    await client.activityIs(job.id, 'run_training', isRunning);
    const pid = platform.pidOf('gpu-worker');
    process.kill(pid, 'SIGTERM');
    await client.activityIs(
      job.id,
      'run_training',
      ({ state, preemptions }) => state === 'queued' && preemptions === 1,
    );
    await cancelled(client, job);
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, startedAt: null });
    await platform.readyAgain('gpu-worker', pid);
    await expectNextCompletes(client);
  });

  it.each([
    ['uploading', 'upload_artifacts', 'registry_runs'],
    ['registering', 'register_model', 'registry_versions'],
  ])('in %s leaves no version behind that the job would show', async (name, activity, table) => {
    const platform = get();
    const client = await platform.project(`cancel-${name}`);
    const release = await lockTable(platform.platform.databaseUrl, table);
    const job = await client.submit(tinyJob({ key: name }));
    await client.activityIs(job.id, activity, isRunning);
    await client.cancel(job.id);
    const ended = await client.finishedAs(job.id, 'CANCELLED', 15_000);
    await release();
    expect(ended.result).toBeNull();
    await expectNothingLeft(client);
  });

  it('that has ended is a conflict, whatever its end, and changes nothing', async () => {
    const client = await get().project('cancel-ended');
    const policy = [{ metric: 'held_out.loss', operator: '<', threshold: 0 }];
    const jobs = [
      [tinyJob({ key: 'good' }), 'COMPLETED'],
      [tinyJob({ key: 'bad', seed: SCENARIO.badConfig }), 'FAILED'],
      [tinyJob({ key: 'poor', policy }), 'EVAL_FAILED'],
      [tinyJob({ key: 'unwanted', seed: SCENARIO.endless }), 'CANCELLED'],
    ] as const;
    for (const [body, status] of jobs) {
      const { id } = await client.submit(body);
      if (status === 'CANCELLED') await client.cancel(id);
      const ended = await client.finishedAs(id, status);
      await expect(client.cancel(id)).rejects.toMatchObject({
        status: 409,
        problem: { code: 'StateConflict', jobStatus: status },
      });
      expect(await client.job(id)).toEqual(ended);
    }
  });
});
