import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ActivityOutput } from '#lib/contracts/activities.ts';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { homeAt } from '../../cli/start/home.ts';
import { storedCheckpoints } from '../support/e2e/checkpoint-faults.ts';
import { expectCompletedOnce } from '../support/e2e/invariants.ts';
import { processTree } from '../support/e2e/process-faults.ts';
import type { ActivityView, Job } from '../support/e2e/rest-client.ts';
import { StartCommand } from '../support/e2e/start-command.ts';
import { makeProject, tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';

const PROJECT = 'mine';
/** Supervisor, PostgreSQL's server and its workers, five services, one trainer. */
const LEAST_PROCESSES = 12;

// What README promises of `npm start`, in the order of one home's life: one job, trained by the built-in trainer, goes through all of it.
describe('trainyard start, with a job in flight', () => {
  let home: string;
  let running: StartCommand;
  let job: Job;

  const alive = async (pids: readonly number[]): Promise<number[]> => {
    const found = await Promise.all(pids.map(async (pid) => ((await processIdentity(pid)) === null ? [] : [pid])));
    return found.flat();
  };
  /** The attempt runs, and has stored a checkpoint of its own. */
  const hasTrained = async (epoch: number): Promise<ActivityView> => {
    const seen = await running
      .client(PROJECT)
      .activityIs(job.id, 'run_training', (activity) => activity.state === 'running' && activity.epoch === epoch);
    await eventually(async () => {
      const events = await running.client(PROJECT).events(job.id);
      return events.some(({ type, data }) => type === 'CheckpointSaved' && data['epoch'] === epoch);
    });
    return seen;
  };

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'trainyard-start-'));
    running = await new StartCommand(home).ready();
    const client = running.client(PROJECT);
    await makeProject(client, client);
    job = await client.submit(tinyJob({ key: 'in-flight', steps: 2_400, checkpointEverySteps: 25 }));
  });
  afterAll(async () => {
    await running.kill();
    await rm(home, { recursive: true, force: true });
  });

  it('says where the gateway, its document and the key are; the key is for its owner alone', async () => {
    expect(running.output).toMatch(/Gateway {4}http:\/\/127\.0\.0\.1:\d+\n {2}API docs {3}http:\S+\/docs\n/);
    expect(running.output).toContain(homeAt(home).adminKeyFile);
    expect((await stat(homeAt(home).adminKeyFile)).mode & 0o777).toBe(0o600);
  });

  it('stops every process within 10 s of Ctrl-C, after the worker has saved a checkpoint', async () => {
    await hasTrained(1);
    const tree = await processTree(running.pid);
    expect(tree.length).toBeGreaterThan(LEAST_PROCESSES);
    const { code, tookMs } = await running.interrupt();
    expect(code).toBe(0);
    expect(tookMs).toBeLessThan(10_000);
    expect(await alive(tree)).toEqual([]);
    expect(running.output).toMatch(/workers save their checkpoints first/);
  });

  it('goes on with the job at the next start; the stop has cost no attempt and no step', async () => {
    running = await new StartCommand(home).ready();
    await hasTrained(2);
    const events = await running.client(PROJECT).events(job.id);
    const yielded = events.find(({ type }) => type === 'ActivityYielded');
    expect(yielded?.data).toMatchObject({ activityId: 'run_training', epoch: 1, reason: 'WorkerStopping' });
    expect(events.map(({ type }) => type)).not.toContain('LeaseEnded');
    expect(await running.client(PROJECT).activity(job.id, 'run_training')).toMatchObject({
      failures: 0,
      preemptions: 1,
    });
    // The pruning keeps two checkpoints: the oldest that is left shows where it went on.
    const saved = events.findLast(({ type, seq }) => type === 'CheckpointSaved' && seq < (yielded?.seq ?? 0));
    const firstOfNext = events.find(({ type, data }) => type === 'CheckpointSaved' && data['epoch'] === 2);
    expect(Number(firstOfNext?.data['step']) - Number(saved?.data['step'])).toBeLessThanOrEqual(25);
  });

  it('is refused on the same home while it runs, naming the process, and disturbs nothing', async () => {
    const second = new StartCommand(home);
    await expect(second.exit).resolves.toEqual([1, null]);
    expect(second.output).toContain('HomeInUse: a platform is already running on this home');
    expect(second.output).toContain(`process ${running.pid}`);
    expect((await running.client(PROJECT).job(job.id)).status).toBe('RUNNING');
  });

  it('goes on from the newest checkpoint after the whole tree was killed with -9, PostgreSQL included', async () => {
    const before = await running.client(PROJECT).activity(job.id, 'run_training');
    expect(before).toMatchObject({ state: 'running', epoch: 2 });
    const tree = await processTree(running.pid);
    expect(tree.length).toBeGreaterThan(LEAST_PROCESSES);
    await running.kill();
    await eventually(async () => (await alive(tree)).length === 0);
    const [newest] = await storedCheckpoints(running, job.id);

    running = await new StartCommand(home).ready();
    const client = running.client(PROJECT);
    const ended = await client.finishedAs(job.id, 'COMPLETED');
    expect(await client.activity(job.id, 'run_training')).toMatchObject({ epoch: 3, failures: 0, preemptions: 1 });
    const output = await client.output<ActivityOutput<'run_training'>>(job.id, 'run_training');
    expect(output).toMatchObject({ resumedFromStep: newest?.step, steps: 2_400 });
    // The kill may hit the upload of one more, whose manifest would have come last.
    expect(output.damagedCheckpoints.length).toBeLessThanOrEqual(1);
    expect(output.damagedCheckpoints.filter((reason) => !reason.endsWith('its manifest is missing'))).toEqual([]);
    await expectCompletedOnce(running, client, ended, 'in-flight');
    expect((await running.interrupt()).code).toBe(0);
  });
});
