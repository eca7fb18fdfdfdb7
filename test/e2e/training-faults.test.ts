import { describe, expect, it } from 'vitest';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { expectCompletedOnce } from '../support/e2e/invariants.ts';
import { e2ePlatform, SCRIPTED_TRAINER } from '../support/e2e/platform.ts';
import { trainerOf } from '../support/e2e/process-faults.ts';
import { errorOf, type JobEvent } from '../support/e2e/rest-client.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { SCENARIO, type Scenario } from '../support/fixtures/trainers/scenarios.ts';

const get = e2ePlatform({
  overrides: {
    '*': { STALL_FLOOR_MS: '3000', STALL_FACTOR: '2' },
    'gpu-worker': { TRAINER_COMMAND: SCRIPTED_TRAINER, YIELD_TIMEOUT_MS: '500' },
  },
});

const run = async (scenario: Scenario) => {
  const client = await get().project('faults');
  const job = await client.submit(
    tinyJob({ key: scenario.toLowerCase(), model: scenario.toLowerCase(), seed: SCENARIO[scenario] }),
  );
  return { client, job };
};

const failures = (events: readonly JobEvent[]): unknown[] =>
  events.filter(({ type }) => type === 'ActivityFailed').map(({ data }) => [data['epoch'], data['code']]);

describe('a training program', () => {
  it('that ends with 0 and without a result fails the job at once: TrainerResultMissing', async () => {
    const { client, job } = await run('noResult');
    const failed = await client.finishedAs(job.id, 'FAILED');
    expect(errorOf(failed)).toMatchObject({ code: 'TrainerResultMissing', retryable: false });
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ state: 'failed', epoch: 1, failures: 1 });
    expect(await client.versions('noresult')).toEqual([]);
  });

  it('that fails three times fails the job, with the last 50 lines of its log in the answer', async () => {
    const { client, job } = await run('fails');
    const failed = await client.finishedAs(job.id, 'FAILED');
    const { code, message, logTail } = errorOf(failed);
    expect({ code, message }).toEqual({ code: 'TrainerFailed', message: 'the trainer ended with exit code 1' });
    expect(logTail).toEqual(Array.from({ length: 50 }, (_, index) => `line ${index + 31} of attempt 3`));
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ state: 'failed', epoch: 3, failures: 3 });
    expect(failures(await client.events(job.id))).toEqual([
      [1, 'TrainerFailed'],
      [2, 'TrainerFailed'],
      [3, 'TrainerFailed'],
    ]);
    expect((await client.budget()).gpuSecondsReserved).toBe(0);
  });

  it.each([
    ['badData', 65, { code: 'TrainerDataTooShort', message: 'no full sequence in the data' }],
    ['badConfig', 78, { code: 'TrainerBadConfig', message: 'the trainer refused its spec (exit code 78)' }],
    ['nonFiniteLoss', 1, { code: 'NonFiniteLoss', message: 'the loss of step 4 is NaN' }],
  ] as const)('that says %s (exit code %i) is not tried again', async (scenario, _code, said) => {
    const { client, job } = await run(scenario);
    const failed = await client.finishedAs(job.id, 'FAILED');
    expect(errorOf(failed)).toMatchObject({ ...said, retryable: false });
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 1, failures: 1 });
  });

  it('that is alive and makes no step loses its lease as stalled, is killed, and is tried again', async () => {
    const { client, job } = await run('hangsFirst');
    const hung = await client.activityIs(job.id, 'run_training', ({ progress }) => stepOf(progress) === 3);
    const trainer = await trainerOf(get().pidOf('gpu-worker'));
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.events(job.id)).toContainEqual(
      expect.objectContaining({
        type: 'LeaseEnded',
        data: { activityId: 'run_training', epoch: hung.epoch, reason: 'stalled' },
      }),
    );
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: hung.epoch + 1, failures: 1 });
    // It ignores SIGTERM: only a kill ends it.
    await eventually(async () => (await processIdentity(trainer)) === null);
    await expectCompletedOnce(get(), client, ended, 'hangsfirst');
  });

  it('that is deaf to SIGTERM is killed when its worker stops; that counts as a yield and no failure', async () => {
    const { client, job } = await run('deafFirst');
    await client.activityIs(job.id, 'run_training', ({ progress }) => stepOf(progress) === 3);
    const pid = get().pidOf('gpu-worker');
    const trainer = await trainerOf(pid);
    process.kill(pid, 'SIGTERM');
    await eventually(async () => (await processIdentity(trainer)) === null);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, failures: 0, preemptions: 1 });
    await expectCompletedOnce(get(), client, ended, 'deaffirst');
  });

  it.each([
    ['killedFirst', 'the trainer was ended by SIGKILL, perhaps for lack of memory'],
    ['failsFirst', 'the trainer ended with exit code 1'],
  ] as const)('that ends badly once (%s) is tried again, and the job completes', async (scenario, message) => {
    const { client, job } = await run(scenario);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    const events = await client.events(job.id);
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'ActivityFailed',
        data: expect.objectContaining({ epoch: 1, code: 'TrainerFailed', message, retryable: true }),
      }),
    );
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 2, failures: 1 });
    await expectCompletedOnce(get(), client, ended, scenario.toLowerCase());
  });

  it('may print what is no message of the protocol', async () => {
    const { client, job } = await run('chatty');
    await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 1, failures: 0 });
  });

  it('that somebody else kills from outside is tried again', async () => {
    const { client, job } = await run('longFirstTraining');
    await client.activityIs(job.id, 'run_training', ({ progress }) => stepOf(progress) > 2);
    const trainer = await trainerOf(get().pidOf('gpu-worker'));
    process.kill(trainer, 'SIGKILL');
    await client.finishedAs(job.id, 'COMPLETED');
    expect(failures(await client.events(job.id))).toEqual([[1, 'TrainerFailed']]);
  });
});

const stepOf = (progress: unknown): number => (progress as { step?: number } | null)?.step ?? 0;
