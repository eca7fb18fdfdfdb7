import { beforeAll, describe, expect, it } from 'vitest';
import type { ActivityOutput } from '#lib/contracts/activities.ts';
import { type Damage, DAMAGES, type StoredCheckpoint, storedCheckpoints } from '../support/e2e/checkpoint-faults.ts';
import { expectCompletedOnce } from '../support/e2e/invariants.ts';
import { e2ePlatform } from '../support/e2e/platform.ts';
import type { Job, RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';

/** The built-in trainer; it needs about 4 s for these steps. */
const SPEC = { steps: 1_200, checkpointEverySteps: 25, seed: 7 };
const get = e2ePlatform();

describe('an interrupted training', () => {
  let uninterrupted: Awaited<ReturnType<typeof curveOf>>;

  beforeAll(async () => {
    const client = await get().project('curves');
    const job = await client.submit(tinyJob({ key: 'uninterrupted', ...SPEC }));
    await client.finishedAs(job.id, 'COMPLETED');
    if ((await client.activity(job.id, 'run_training'))?.epoch !== 1) throw new Error('it was interrupted after all');
    uninterrupted = await curveOf(client, job);
    if (uninterrupted.loss.length <= 20) throw new Error('a curve that short would compare too little');
  });

  it.each(Object.keys(DAMAGES) as Damage[])(
    'whose newest checkpoint %s goes on from the one before, says so, and ends bit for bit as if nothing had happened',
    async (damage) => {
      const platform = get();
      const client = platform.client('curves');
      const key = damage.replaceAll(' ', '-');
      const job = await client.submit(tinyJob({ key, ...SPEC }));
      // 1. Two checkpoints are stored; the worker stores no more from here on.
      const [pid] = await checkpointsAre(2, job);
      process.kill(pid, 'SIGSTOP');
      const [newest, before] = await storedCheckpoints(platform, job.id);
      if (newest === undefined || before === undefined) throw new Error('two checkpoints were there a moment ago');
      expect((await client.activity(job.id, 'run_training'))?.state).toBe('running');
      await DAMAGES[damage](platform, newest);
      // 2. The worker dies with its trainer.
      await platform.killService('gpu-worker');
      const ended = await client.finishedAs(job.id, 'COMPLETED');
      expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, failures: 0 });
      // 3. It went on from the one before and said so.
      const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
      expect(output.resumedFromStep).toBe(before.step);
      expect(output.damagedCheckpoints).toContainEqual(expect.stringContaining(`step ${newest.step} (epoch 1): `));
      // 4. As if nothing had happened.
      await expectCompletedOnce(platform, client, ended, key);
      expect(await curveOf(client, job)).toEqual(uninterrupted);
    },
  );

  it('without damage goes on from its newest checkpoint and ends bit for bit as if nothing had happened', async () => {
    const platform = get();
    const client = platform.client('curves');
    const job = await client.submit(tinyJob({ key: 'undamaged', ...SPEC }));
    const [pid] = await checkpointsAre(1, job);
    process.kill(pid, 'SIGSTOP');
    const [newest] = await storedCheckpoints(platform, job.id);
    await platform.killService('gpu-worker');
    await client.finishedAs(job.id, 'COMPLETED');
    const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
    expect(output).toMatchObject({ resumedFromStep: newest?.step, damagedCheckpoints: [] });
    expect(await curveOf(client, job)).toEqual(uninterrupted);
    // Time up to the checkpoint was not in vain.
    const training = await client.activity(job.id, 'run_training');
    expect(training?.laneSeconds.useful).toBeGreaterThan(0);
  });

  it('whose worker is asked to stop (SIGTERM) yields with a checkpoint, counts no failure, and goes on from there', async () => {
    const platform = get();
    const client = platform.client('curves');
    const job = await client.submit(tinyJob({ key: 'yielded', ...SPEC }));
    const [pid] = await checkpointsAre(1, job);
    process.kill(pid, 'SIGTERM');
    await platform.readyAgain('gpu-worker', pid);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    const events = await client.events(job.id);
    const yielded = events.find(({ type }) => type === 'ActivityYielded');
    expect(yielded?.data).toMatchObject({ activityId: 'run_training', epoch: 1, reason: 'WorkerStopping' });
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, failures: 0, preemptions: 1 });
    expect(events.map(({ type }) => type)).not.toContain('LeaseEnded');
    const lastSaved = events.findLast(({ type, seq }) => type === 'CheckpointSaved' && seq < (yielded?.seq ?? 0));
    const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
    expect(output.resumedFromStep).toBe(lastSaved?.data['step']);
    await expectCompletedOnce(platform, client, ended, 'yielded');
    expect(await curveOf(client, job)).toEqual(uninterrupted);
  });
});

/** Waits until the training has stored so many; answers the worker's process and what is stored. */
async function checkpointsAre(count: number, job: Job): Promise<[pid: number, stored: StoredCheckpoint[]]> {
  const stored = await eventually(
    async () => {
      const found = await storedCheckpoints(get(), job.id);
      return found.length >= count && found;
    },
    { withinMs: 30_000, everyMs: 10 },
  );
  return [get().pidOf('gpu-worker'), stored];
}

/** Everything that training computed: its curves, its final metrics and the digests of what it wrote. */
async function curveOf(client: RestClient, job: Job) {
  const curves = await client.curves(job.id);
  const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
  const { files } = await client.artifacts(job.id);
  return {
    loss: curves.find(({ name }) => name === 'train.loss')?.points ?? [],
    names: curves.map(({ name, total }) => [name, total]),
    metrics: Object.entries(output.metrics).filter(([name]) => !/second/i.test(name)),
    files: files.map(({ path, sha256 }) => [path, sha256]),
  };
}
