import { beforeAll, describe, expect, it } from 'vitest';
import { FINAL_STATUSES, PRIORITIES } from '#lib/contracts/jobs.ts';
import { expectCompletedOnce, expectNothingLeft } from '../support/e2e/invariants.ts';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { errorOf, type Job } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { SCENARIO } from '../support/fixtures/trainers/scenarios.ts';

const get = e2ePlatform({ overrides: { 'gpu-worker': { TRAINER_COMMAND: SCRIPTED_TRAINER } } });

// Before any job: a new project's cap takes effect within a second.
beforeAll(async () => {
  await get().project('none-may-run', { maxRunningWorkflows: 0 });
  await get().project('crowd', { maxRunningWorkflows: 0 });
});

describe('the budget', () => {
  it('is reserved at submission and settled with what was used at the end', async () => {
    const client = await get().project('budget');
    const job = await client.submit(tinyJob({ key: 'paid', seed: SCENARIO.slow }));
    expect(job.gpuSecondsEstimate).toBeGreaterThan(0);
    await expect(client.budget()).resolves.toMatchObject({
      gpuSecondsReserved: job.gpuSecondsEstimate,
      gpuSecondsUsed: 0,
    });
    await client.finishedAs(job.id, 'COMPLETED');
    const { gpuSecondsReserved, gpuSecondsUsed } = await client.budget();
    expect(gpuSecondsReserved).toBe(0);
    const gpu = (await client.activities(job.id)).filter(({ lane }) => lane === 'gpu');
    const seconds = gpu.reduce((sum, { laneSeconds }) => sum + laneSeconds.useful + laneSeconds.lost, 0);
    expect(gpuSecondsUsed).toBeCloseTo(seconds, 2);
    expect(gpuSecondsUsed).toBeGreaterThan(4);
  });

  it('is given back when the job never ran', async () => {
    const client = get().client('none-may-run');
    const job = await client.submit(tinyJob({ key: 'unspent' }));
    expect((await client.budget()).gpuSecondsReserved).toBeGreaterThan(0);
    await client.cancel(job.id);
    await client.finishedAs(job.id, 'CANCELLED');
    await expectNothingLeft(client);
    expect((await client.budget()).gpuSecondsUsed).toBe(0);
  });
});

describe('submitting', () => {
  it('the same idempotency key again gives the same job, also after its end', async () => {
    const client = await get().project('again');
    const first = await client.submit(tinyJob({ key: 'once' }));
    const second = await client.submit(tinyJob({ key: 'once' }));
    expect(second.id).toBe(first.id);
    const ended = await client.finishedAs(first.id, 'COMPLETED');
    const third = await client.submit(tinyJob({ key: 'once' }));
    expect(third).toMatchObject({ id: first.id, status: 'COMPLETED' });
    await expectCompletedOnce(get(), client, ended, 'once');
    await expect(client.submit(tinyJob({ key: 'once', steps: 61 }))).rejects.toMatchObject({
      status: 409,
      problem: { code: 'IdempotencyConflict' },
    });
  });
});

describe('the evaluation gate', () => {
  it('fails a job with the reason of each threshold, and registers nothing', async () => {
    const client = await get().project('gate');
    const policy = [
      { metric: 'held_out.loss', operator: '<', threshold: 1 },
      { metric: 'held_out.loss', operator: '>', threshold: 0 },
    ];
    const job = await client.submit(tinyJob({ key: 'gated', policy }));
    const { result } = await client.finishedAs(job.id, 'EVAL_FAILED');
    expect(result).toMatchObject({
      model: null,
      evaluation: {
        gate: {
          passed: false,
          results: [
            { passed: false, actual: 1.5, reason: 'held_out.loss = 1.50000, required < 1' },
            { passed: true, actual: 1.5 },
          ],
        },
      },
    });
    expect(await client.versions('gated')).toEqual([]);
    expect(await client.activity(job.id, 'register_model')).toBeUndefined();
  });

  it('fails closed when a metric is missing', async () => {
    const client = await get().project('unmeasured');
    const policy = [{ metric: 'held_out.loss', operator: '<', threshold: 100 }];
    const job = await client.submit(tinyJob({ key: 'unmeasured', seed: SCENARIO.measuresNothing, policy }));
    const { result } = await client.finishedAs(job.id, 'EVAL_FAILED');
    expect(result).toMatchObject({
      evaluation: { gate: { results: [{ actual: null, passed: false, reason: 'held_out.loss was not measured' }] } },
    });
    expect(await client.versions('unmeasured')).toEqual([]);
  });
});

describe('twelve jobs at once in a project that may run two', () => {
  it('never run more than two at a time, the urgent ones first, and all complete', async () => {
    const client = get().client('crowd');
    const priorities = Array.from({ length: 12 }, (_, index) => PRIORITIES[index % PRIORITIES.length] ?? 'normal');
    const jobs = await Promise.all(
      priorities.map((priority, n) => client.submit(tinyJob({ key: `crowd-${n}`, priority }))),
    );
    // Everything is in the queue before the first one may start, so that the order is the scheduler's and not ours.
    for (const { id } of jobs) await client.activityIs(id, 'validate_dataset', ({ state }) => state === 'queued');
    await get().project('crowd', { maxRunningWorkflows: 2 });
    const samples: number[] = [];
    const ended = await eventually(
      async () => {
        // One request: twelve would see one job before its end and another after its start, which were never running together.
        const { items: now } = await client.request<{ items: Job[] }>(`/v1/jobs?project=${client.project}&limit=50`);
        samples.push(now.filter(({ status }) => status === 'RUNNING').length);
        expect(samples.at(-1)).toBeLessThanOrEqual(2);
        if (!now.every(({ status }) => FINAL_STATUSES.includes(status))) throw new Error('not all have ended');
        return now;
      },
      { withinMs: 60_000, everyMs: 50 },
    );
    expect(ended.map(({ status }) => status)).toEqual(jobs.map(() => 'COMPLETED'));
    expect(Math.max(...samples)).toBe(2);
    const inOrder = ended.toSorted((a, b) => Date.parse(a.startedAt ?? '') - Date.parse(b.startedAt ?? ''));
    const ranks = inOrder.map(({ priority }) => PRIORITIES.indexOf(priority));
    expect(ranks).toEqual(ranks.toSorted((a, b) => b - a));
  });
});

describe('a job that fails', () => {
  it('says the code in its answer and gives its reservation back', async () => {
    const client = await get().project('failing');
    const job = await client.submit(tinyJob({ key: 'failing', seed: SCENARIO.badConfig }));
    const failed = await client.finishedAs(job.id, 'FAILED');
    expect(errorOf(failed)).toMatchObject({ code: 'TrainerBadConfig', retryable: false });
    await expectNothingLeft(client);
  });
});
