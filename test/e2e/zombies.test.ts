import { describe, expect, it } from 'vitest';
import type { ActivityOutput } from '#lib/contracts/activities.ts';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { storedCheckpoints } from '../support/e2e/checkpoint-faults.ts';
import { expectCompletedOnce } from '../support/e2e/invariants.ts';
import { e2ePlatform, secondWorker } from '../support/e2e/platform.ts';
import { lockTable, trainerOf } from '../support/e2e/process-faults.ts';
import type { ActivityView, Job, RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';

// The built-in trainer and two workers a lane: what one of them lost the other one runs, while the first is still there.
const get = e2ePlatform({
  overrides: { '*': { STALL_FLOOR_MS: '3000', STALL_FACTOR: '2' } },
  moreServices: [secondWorker('cpu-worker'), secondWorker('gpu-worker')],
  liveness: { everyMs: 60_000, misses: 3 },
});

/** The built-in trainer needs about 4 s for these steps. */
const LONG = { steps: 1_200, checkpointEverySteps: 25 };
const PROJECT = 'zombies';

interface Frozen {
  readonly pid: number;
  readonly trainer: number;
  /** Service name of the worker. */
  readonly service: string;
}

const serviceOf = (lane: 'cpu' | 'gpu', workerId: string | null): string =>
  workerId === `${lane}-worker-2` ? workerId : `${lane}-worker`;

const runsAs =
  (epoch: number) =>
  (activity: ActivityView): boolean =>
    activity.state === 'running' && activity.epoch === epoch;

/** A training job that has stored a checkpoint, and whose worker was stopped (SIGSTOP) after that. Its trainer goes on. */
async function frozenInTraining(client: RestClient, key: string): Promise<{ job: Job; frozen: Frozen }> {
  const job = await client.submit(tinyJob({ key, ...LONG }));
  await eventually(async () => (await storedCheckpoints(get(), job.id)).length > 0, { withinMs: 30_000 });
  const { workerId } = await client.activityIs(job.id, 'run_training', runsAs(1));
  const service = serviceOf('gpu', workerId);
  const pid = get().pidOf(service);
  process.kill(pid, 'SIGSTOP');
  const trainer = await trainerOf(pid);
  return { job, frozen: { pid, trainer, service } };
}

const isAlive = async (pid: number): Promise<boolean> => (await processIdentity(pid)) !== null;

/** The second attempt alone made the result; whatever the first one said after its lease had ended was ignored. */
async function expectSecondAttemptCounts(client: RestClient, job: Job, activity: string): Promise<void> {
  const events = await client.events(job.id);
  const ended = events.find(({ type, data }) => type === 'LeaseEnded' && data['activityId'] === activity);
  expect(ended?.data).toEqual({ activityId: activity, epoch: 1, reason: 'lost' });
  const later = events.filter(({ seq, data }) => seq > (ended?.seq ?? 0) && data['activityId'] === activity);
  const ofFirst = later.filter(({ data }) => data['epoch'] === 1).map(({ type }) => type);
  expect(ofFirst.filter((type) => type !== 'LateMessageIgnored')).toEqual([]);
  expect(await client.activity(job.id, activity)).toMatchObject({ state: 'done', epoch: 2, failures: 0 });
}

describe('a GPU worker that is stopped past its lease', () => {
  it('and wakes while its training runs elsewhere is told to stop, ends its trainer and publishes nothing', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const { job, frozen } = await frozenInTraining(client, 'woken-early');
    const second = await client.activityIs(job.id, 'run_training', runsAs(2));
    expect(serviceOf('gpu', second.workerId)).not.toBe(frozen.service);
    // 1. It wakes with a trainer that still trains.
    expect(await isAlive(frozen.trainer)).toBe(true);
    process.kill(frozen.pid, 'SIGCONT');
    await eventually(async () => !(await isAlive(frozen.trainer)));
    expect((await client.job(job.id)).status).toBe('RUNNING');
    // 2. The attempt that holds the lease is not disturbed.
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    await expectSecondAttemptCounts(client, job, 'run_training');
    await expectCompletedOnce(platform, client, ended, 'woken-early');
    // 3. The zombie is a worker like any other again: two trainings at once need both.
    expect(platform.pidOf(frozen.service)).toBe(frozen.pid);
    const pair = await Promise.all(['one', 'two'].map((key) => client.submit(tinyJob({ key, steps: 300 }))));
    const workers = await Promise.all(pair.map(({ id }) => client.activityIs(id, 'run_training', runsAs(1))));
    expect(new Set(workers.map(({ workerId }) => workerId)).size).toBe(2);
    for (const { id } of pair) await client.finishedAs(id, 'COMPLETED');
  });

  it('and wakes when its job has long been completed changes nothing about it', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const { job, frozen } = await frozenInTraining(client, 'woken-late');
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    await expectSecondAttemptCounts(client, job, 'run_training');
    const before = await client.artifacts(job.id);
    process.kill(frozen.pid, 'SIGCONT');
    await eventually(async () => !(await isAlive(frozen.trainer)), { withinMs: 20_000 });
    await eventually(async () => {
      const { items } = await client.request<{ items: { running: number }[] }>('/v1/workers');
      expect(items.map(({ running }) => running)).toEqual(items.map(() => 0));
    });
    await expectSecondAttemptCounts(client, job, 'run_training');
    expect(await client.job(job.id)).toEqual(ended);
    expect(await client.artifacts(job.id)).toEqual(before);
    await expectCompletedOnce(platform, client, ended, 'woken-late');
    expect(platform.pidOf(frozen.service)).toBe(frozen.pid);
  });
});

describe('a CPU worker that is stopped past its lease', () => {
  it('in the middle of registering, and wakes while another one registers, makes no second version', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const release = await lockTable(platform.platform.databaseUrl, 'registry_versions');
    const job = await client.submit(tinyJob({ key: 'registering' }));
    const { workerId } = await client.activityIs(job.id, 'register_model', runsAs(1));
    const pid = platform.pidOf(serviceOf('cpu', workerId));
    process.kill(pid, 'SIGSTOP');
    const second = await client.activityIs(job.id, 'register_model', runsAs(2));
    expect(second.workerId).not.toBe(workerId);
    await release();
    process.kill(pid, 'SIGCONT');
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    await expectSecondAttemptCounts(client, job, 'register_model');
    await expectCompletedOnce(platform, client, ended, 'registering');
    expect((await client.versions('registering')).map(({ version }) => version)).toEqual([1]);
  });
});

describe('a training program that is alive and makes no step (SIGSTOP)', () => {
  it('loses its lease as stalled, is killed, and training goes on from the newest checkpoint', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const job = await client.submit(tinyJob({ key: 'stalled', ...LONG, steps: 600 }));
    await eventually(async () => (await storedCheckpoints(platform, job.id)).length > 0, { withinMs: 30_000 });
    const { workerId } = await client.activityIs(job.id, 'run_training', runsAs(1));
    const trainer = await trainerOf(platform.pidOf(serviceOf('gpu', workerId)));
    process.kill(trainer, 'SIGSTOP');
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    await eventually(async () => !(await isAlive(trainer)));
    expect(await client.events(job.id)).toContainEqual(
      expect.objectContaining({
        type: 'LeaseEnded',
        data: { activityId: 'run_training', epoch: 1, reason: 'stalled' },
      }),
    );
    // A stall counts as a failure of the attempt; a program that stalls each time must not run for ever.
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, failures: 1 });
    const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
    expect(output.resumedFromStep).toBeGreaterThan(0);
    await expectCompletedOnce(platform, client, ended, 'stalled');
  });
});
