import { beforeAll, describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { trainerOf } from '../support/e2e/process-faults.ts';
import { errorOf, type Job } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { SCENARIO } from '../support/fixtures/trainers/scenarios.ts';

const trainer = { TRAINER_COMMAND: SCRIPTED_TRAINER };

describe('a job that runs longer than its type allows', () => {
  const get = e2ePlatform({ overrides: { 'gpu-worker': trainer, orchestrator: { EXECUTION_TIMEOUT_MS: '8000' } } });

  let waiting: Job;
  // Before any job: a new project's cap takes effect within a second. Both jobs run out of time together.
  beforeAll(async () => {
    const client = await get().project('none-may-run', { maxRunningWorkflows: 0 });
    waiting = await client.submit(tinyJob({ key: 'waits' }));
  });

  it('is TIMED_OUT in the middle of training; its program is stopped and its reservation given back', async () => {
    const client = await get().project('late');
    const job = await client.submit(tinyJob({ key: 'late', seed: SCENARIO.endless }));
    await client.activityIs(job.id, 'run_training', ({ state }) => state === 'running');
    const pid = await trainerOf(get().pidOf('gpu-worker'));
    const ended = await client.finishedAs(job.id, 'TIMED_OUT', 20_000);
    expect(errorOf(ended)).toMatchObject({ code: 'ExecutionTimeout', retryable: false });
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ state: 'cancelled', epoch: 1 });
    await eventually(async () => (await processIdentity(pid)) === null);
    const { gpuSecondsReserved, gpuSecondsUsed } = await client.budget();
    expect(gpuSecondsReserved).toBe(0);
    expect(gpuSecondsUsed).toBeGreaterThan(0);
    await expect(client.cancel(job.id)).rejects.toMatchObject({ status: 409 });
  });

  it('is TIMED_OUT also when it only waited, and has used nothing', async () => {
    const client = get().client('none-may-run');
    const ended = await client.finishedAs(waiting.id, 'TIMED_OUT', 20_000);
    expect(errorOf(ended).code).toBe('ExecutionTimeout');
    expect(await client.activities(waiting.id)).toMatchObject([
      { name: 'validate_dataset', state: 'cancelled', startedAt: null },
    ]);
    await expect(client.budget()).resolves.toMatchObject({ gpuSecondsReserved: 0, gpuSecondsUsed: 0 });
  });
});

describe('a workspace without room', () => {
  const get = e2ePlatform({
    overrides: { 'gpu-worker': trainer, 'cpu-worker': { WORKSPACE_MARGIN_BYTES: '1000000000000000' } },
  });

  it('is tried again and then fails the job, naming DiskFull, before anything is trained', async () => {
    const client = await get().project('full');
    const job = await client.submit(tinyJob({ key: 'full' }));
    const failed = await client.finishedAs(job.id, 'FAILED');
    expect(errorOf(failed)).toMatchObject({ code: 'DiskFull', retryable: true });
    expect(errorOf(failed).message).toMatch(/bytes free, the files need \d+ and a margin of 1000000000000000/);
    expect(await client.activity(job.id, 'prepare_workspace')).toMatchObject({
      state: 'failed',
      epoch: 3,
      failures: 3,
    });
    expect(await client.activity(job.id, 'run_training')).toBeUndefined();
  });
});
