import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inTheAct } from '../support/e2e/in-the-act.ts';
import { expectCompletedOnce } from '../support/e2e/invariants.ts';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { lockTable, slowDown } from '../support/e2e/process-faults.ts';
import type { ActivityView, Job, RestClient } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { SCENARIO } from '../support/fixtures/trainers/scenarios.ts';

const PROJECT = 'kills';
const SAID_BEFORE_MS = 300;
const get = e2ePlatform({
  overrides: { 'gpu-worker': { TRAINER_COMMAND: SCRIPTED_TRAINER } },
  liveness: { everyMs: 1_000, misses: 4 },
});

const isRunning = ({ state }: ActivityView): boolean => state === 'running';

/** The attempt that was killed lost its lease, another one did the work, and nothing was made twice. */
async function expectTriedAgain(client: RestClient, job: Job, activity: string, killed: ActivityView): Promise<void> {
  const platform = get();
  const ended = await client.finishedAs(job.id, 'COMPLETED');
  const after = await client.activity(job.id, activity);
  expect(after?.epoch).toBeGreaterThan(killed.epoch);
  expect(after).toMatchObject({ state: 'done', failures: 0 });
  expect((await client.events(job.id)).filter(({ type }) => type === 'LeaseEnded')).toContainEqual(
    expect.objectContaining({ data: { activityId: activity, epoch: killed.epoch, reason: 'lost' } }),
  );
  await expectCompletedOnce(platform, client, ended, activity.replace('_', '-'));
}

describe('a worker that is killed with -9', () => {
  // Each of these steps takes a few milliseconds: the worker is made slow, so that it dies with the step in its hands.
  it.each(['validate_dataset', 'preprocess_data', 'prepare_workspace'])(
    'in %s loses its attempt and nothing else',
    async (activity) => {
      const platform = get();
      const client = await platform.project(PROJECT);
      const pid = platform.pidOf('cpu-worker');
      let slow = slowDown(pid);
      const killing = inTheAct(client, activity, async (job, killed) => {
        await slow.halt();
        // What it said before comes first: it may have said that it was done.
        await delay(SAID_BEFORE_MS);
        if ((await client.activity(job.id, activity))?.state === 'running') {
          await platform.killService('cpu-worker');
          return { job, killed };
        }
        slow = slowDown(pid);
        return null;
      });
      await Promise.allSettled([killing]);
      await slow.atFullSpeed();
      const { job, killed } = await killing;
      await platform.readyAgain('cpu-worker', pid);
      expect(killed).toMatchObject({ epoch: 1, failures: 0 });
      await expectTriedAgain(client, job, activity, killed);
    },
  );

  // These two write to the model registry: a lock holds them there.
  it.each([
    ['upload_artifacts', 'registry_runs'],
    ['register_model', 'registry_versions'],
  ])('in %s loses its attempt and nothing else', async (activity, table) => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const release = await lockTable(platform.platform.databaseUrl, table);
    const job = await client.submit(tinyJob({ key: activity, model: activity.replace('_', '-') }));
    const killed = await client.activityIs(job.id, activity, isRunning);
    const pid = await platform.killService('cpu-worker');
    await release();
    await platform.readyAgain('cpu-worker', pid);
    expect(killed).toMatchObject({ epoch: 1, failures: 0 });
    await expectTriedAgain(client, job, activity, killed);
  });

  it.each([
    ['run_training', SCENARIO.longFirstTraining],
    ['run_evaluation', SCENARIO.longFirstEvaluation],
  ])('in %s loses its attempt and nothing else', async (activity, seed) => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const model = activity.replace('_', '-');
    const job = await client.submit(tinyJob({ key: activity, model, seed, checkpointEverySteps: 1_000 }));
    const hasStepped = ({ progress }: ActivityView): boolean => ((progress as { step?: number } | null)?.step ?? 0) > 2;
    const killed = await client.activityIs(job.id, activity, (seen) => isRunning(seen) && hasStepped(seen));
    const pid = await platform.killService('gpu-worker');
    await platform.readyAgain('gpu-worker', pid);
    await expectTriedAgain(client, job, activity, killed);
    // No checkpoint was saved: all the time of the killed attempt is lost.
    expect((await client.activity(job.id, activity))?.laneSeconds.lost).toBeGreaterThan(0.1);
  });
});

describe('a service that is killed with -9 during training', () => {
  it('as orchestrator finds the running attempt again and does not run it twice', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const job = await client.submit(tinyJob({ key: 'adopted', seed: SCENARIO.slow, checkpointEverySteps: 10 }));
    const before = await client.activityIs(job.id, 'run_training', isRunning);
    const pid = await platform.killService('orchestrator');
    expect((await client.activity(job.id, 'run_training'))?.state).toBe('running');
    await platform.readyAgain('orchestrator', pid);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    const after = await client.activity(job.id, 'run_training');
    expect(before.epoch).toBe(1);
    expect(after).toMatchObject({ epoch: 1, failures: 0, startedAt: before.startedAt });
    expect((await client.events(job.id)).map(({ type }) => type)).not.toContain('LeaseEnded');
    await expectCompletedOnce(platform, client, ended, 'adopted');
  });

  it('as gateway answers again, and jobs go on without it', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const job = await client.submit(tinyJob({ key: 'unwatched', seed: SCENARIO.slow }));
    await client.activityIs(job.id, 'run_training', isRunning);
    const pid = await platform.killService('gateway');
    await expect(client.job(job.id)).rejects.toThrow('fetch failed');
    const again = await platform.readyAgain('gateway', pid);
    expect(again).not.toBe(pid);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 1, failures: 0 });
    await expectCompletedOnce(platform, client, ended, 'unwatched');
  });
});

describe('services that hang (SIGSTOP) during training', () => {
  it('are noticed, killed and started again; the job does not notice gateway and orchestrator', async () => {
    const platform = get();
    const client = await platform.project(PROJECT);
    const job = await client.submit(tinyJob({ key: 'unattended', seed: SCENARIO.slow, checkpointEverySteps: 10 }));
    await client.activityIs(job.id, 'run_training', isRunning);
    const hung = ['gateway', 'orchestrator'].map((name) => ({ name, pid: platform.pidOf(name) }));
    for (const { pid } of hung) process.kill(pid, 'SIGSTOP');
    for (const { name, pid } of hung) {
      await platform.readyAgain(name, pid);
      expect(platform.events).toContainEqual(expect.objectContaining({ type: 'process_hung', name, pid }));
    }
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 1, failures: 0 });
    await expectCompletedOnce(platform, client, ended, 'unattended');
  });
});
