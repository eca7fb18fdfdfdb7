import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { chainHolds } from '#lib/contracts/approval-chain.ts';
import { WORKFLOW_PARTITIONS } from '#lib/contracts/topics.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import { type ActivityContext, ActivityError } from '#lib/worker/activity.ts';
import { ACTIVITIES } from '#lib/contracts/activities.ts';
import type { ApprovalTicket } from '../../../services/orchestrator/domain/approval.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { cancelCommand, startEngine, startProcess, startWorker } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';
import { FULL_RELEASE, hpoInput, rlhfInput } from '../../support/flows/flow-inputs.ts';
import { plausibleOutput } from '../../support/flows/flow-outputs.ts';
import { createProject, impatientRegistry, jobsLike, signalCommand, takeIn } from '../../support/flows/flow-site.ts';
import { CurveTrainer, type Run } from '../../support/flows/curve-trainer.ts';
import { fineTuneInput } from '../../replay/fine-tune-facts.ts';

const DAY_MS = 86_400_000;

let db: TestDatabase;
const open: (() => Promise<void>)[] = [];
const keep = <T extends { close: () => Promise<void> }>(thing: T): T => {
  open.push(thing.close);
  return thing;
};
beforeAll(async () => {
  db = await createTestDatabase();
  await createProject(db.database);
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
afterAll(() => db.drop());

const plausible: Record<string, Run> = Object.fromEntries(
  Object.keys(ACTIVITIES).map((name) => [name, async ({ input }: ActivityContext) => plausibleOutput(name, input)]),
);

async function withWorkers(trainer: CurveTrainer, activities: Record<string, Run> = plausible) {
  const all = { ...activities, run_training: trainer.run };
  const cpu = keep(await startWorker(db.url, all));
  keep(await startWorker(db.url, all, { lane: 'gpu' }));
  return cpu.bus;
}
const rows = async <T extends object>(text: string, ...values: unknown[]): Promise<readonly T[]> =>
  (await db.database.query<T>(text, values)).rows;
const statusOf = async (jobId: string): Promise<string | undefined> =>
  (await jobsLike(db.database, jobId)).find(({ id }) => id === jobId)?.status;

/** What was booked for the jobs whose id begins so: each once, and all of it in the project's sum. */
async function expectSettled(prefix: string, count: number): Promise<void> {
  const settled = await rows<{ job_id: string; n: number }>(
    `select job_id, count(*)::int as n from budget_ledger where kind = 'settle' and starts_with(job_id, $1) group by 1`,
    prefix,
  );
  expect(settled.filter(({ n }) => n !== 1)).toEqual([]);
  expect(settled).toHaveLength(count);
  const [sums] = await rows<{ booked: number; used: number; reserved: number }>(
    `select (select sum(gpu_seconds_used) from budget_ledger)::float8 as booked, gpu_seconds_used as used, gpu_seconds_reserved as reserved from projects`,
  );
  expect(sums?.used).toBeCloseTo(sums?.booked ?? -1, 6);
  expect(sums?.reserved).toBeCloseTo(0, 6);
}

describe('a search with its trials in other shards', () => {
  it('goes on with the same trials after its orchestrator was killed, prunes, and a pruned trial can be revived', async () => {
    // The larger the learning rate the worse, from the first point on.
    const trainer = new CurveTrainer((rate, step) => rate * 100 + 100 / step);
    let orchestrator = await startProcess('orchestrator-process.ts', db.url);
    const bus = await withWorkers(trainer);
    const pruning = { strategy: 'liveMedian' as const, warmUpSteps: 20, everySteps: 20, minimumTrials: 3 };
    const input = { ...hpoInput({ trials: 6, maxConcurrent: 4, pruning }), jobId: 'job-search' };
    await bus.publish([await takeIn(db.database, 'wf-search', 'hpo', input, 50)]);
    try {
      await eventually(() => expect(trainer.running).toBeGreaterThan(2));
      await orchestrator.kill();
      orchestrator = await startProcess('orchestrator-process.ts', db.url);
      await eventually(async () => expect(await statusOf('job-search')).toBe('COMPLETED'), { withinMs: 60_000 });
      const jobs = await jobsLike(db.database, 'job-search');
      expect(jobs.map(({ id }) => id)).toEqual([
        'job-search',
        ...[0, 1, 2, 3, 4, 5].map((n) => `job-search-trial-${n}`),
      ]);
      const trials = jobs.slice(1);
      expect(trials.every((job) => job.parent_job_id === 'job-search' && job.submitted_by === 'key-submitter')).toBe(
        true,
      );
      const partitions = jobs.map((_, n) => partitionOf(`wf-search~trial-${n}`, WORKFLOW_PARTITIONS));
      expect(new Set(partitions).size).toBeGreaterThan(1);

      const pruned = trials.filter(({ status }) => status === 'PAUSED');
      expect(pruned.length).toBeGreaterThan(0);
      expect(trials.every(({ status }) => status === 'PAUSED' || status === 'COMPLETED')).toBe(true);
      const answer = jobs[0]?.result as {
        prunings: { trial: number }[];
        savings: { stepsSaved: number };
        best: { number: number };
      };
      // One that was done before the word reached it is complete, and pruned in the evidence only.
      expect(answer.prunings.map(({ trial }) => `job-search-trial-${trial}`)).toEqual(
        expect.arrayContaining(pruned.map(({ id }) => id)),
      );
      expect(answer.savings.stepsSaved).toBeGreaterThan(0);

      // The word may come when the last step is done: such a one rests before its next activity.
      const stopped = await rows<{ workflow_id: string }>(
        `select workflow_id from activities where activity_id = 'run_training' and state = 'queued' and starts_with(workflow_id, 'wf-search~')`,
      );
      const inTraining = stopped.map(({ workflow_id }) => workflow_id.replace('wf-search~', 'job-search-'));
      const first = pruned.find(({ id }) => inTraining.includes(id));
      if (first === undefined) throw new Error('none was stopped in its training');
      const before = trainer.resumedFrom.get(first.id)?.length ?? 0;
      await bus.publish([signalCommand(first.id.replace('job-search-', 'wf-search~'), 'resume')]);
      await eventually(async () => expect(await statusOf(first.id)).toBe('COMPLETED'), { withinMs: 30_000 });
      // It went on from the checkpoint that it stored before it stopped.
      expect(trainer.resumedFrom.get(first.id)?.slice(before)[0]).toBeGreaterThanOrEqual(20);
      expect(new Set(trainer.epochs).size).toBe(trainer.epochs.length);
      await expectSettled('job-search', 1 + trials.length - (pruned.length - 1));
    } finally {
      await orchestrator.kill();
    }
  });

  it('that is cancelled takes its trials along', async () => {
    const never = new Promise<void>(() => undefined);
    const trainer = new CurveTrainer(() => 1, never);
    const { bus } = keep(await startEngine(db.url, { registry: impatientRegistry() }));
    await withWorkers(trainer);
    const input = {
      ...hpoInput({ trials: 3, maxConcurrent: 3, pruning: { strategy: 'none' } }),
      jobId: 'job-cancelled',
    };
    await bus.publish([await takeIn(db.database, 'wf-cancelled', 'hpo', input)]);
    await eventually(() => expect(trainer.running).toBe(3));
    await bus.publish([cancelCommand('wf-cancelled')]);
    await eventually(async () => {
      const jobs = await jobsLike(db.database, 'job-cancelled');
      expect(jobs.map(({ status }) => status)).toEqual(['CANCELLED', 'CANCELLED', 'CANCELLED', 'CANCELLED']);
    });
    await eventually(() => expect(trainer.running).toBe(0));
    await expectSettled('job-cancelled', 4);
  });

  // Found by reading: the search held the only place of its project, and its trials waited for it.
  it('runs in a project that may run one workflow at a time', async () => {
    await db.database.query('update projects set max_running_workflows = 1');
    try {
      const trainer = new CurveTrainer((rate) => rate);
      const { bus } = keep(await startEngine(db.url, { registry: impatientRegistry() }));
      await withWorkers(trainer);
      const input = {
        ...hpoInput({ trials: 2, maxConcurrent: 2, pruning: { strategy: 'none' } }),
        jobId: 'job-narrow',
      };
      await bus.publish([await takeIn(db.database, 'wf-narrow', 'hpo', input)]);
      await eventually(async () => expect(await statusOf('job-narrow')).toBe('COMPLETED'), { withinMs: 30_000 });
    } finally {
      await db.database.query('update projects set max_running_workflows = 100');
    }
  });
});

describe('pause and retry', () => {
  it('a paused search pauses its trials at their checkpoints and goes on with them', async () => {
    const gate = Promise.withResolvers<void>();
    const trainer = new CurveTrainer((rate) => rate, gate.promise);
    const { bus } = keep(await startEngine(db.url, { registry: impatientRegistry() }));
    await withWorkers(trainer);
    const input = { ...hpoInput({ trials: 2, maxConcurrent: 2, pruning: { strategy: 'none' } }), jobId: 'job-paused' };
    await bus.publish([await takeIn(db.database, 'wf-paused', 'hpo', input)]);
    await eventually(() => expect(trainer.running).toBe(2));
    await bus.publish([signalCommand('wf-paused', 'pause', { reason: 'lunch' })]);
    await eventually(async () => {
      const jobs = await jobsLike(db.database, 'job-paused');
      expect(jobs.map(({ status }) => status)).toEqual(['PAUSED', 'PAUSED', 'PAUSED']);
      expect(trainer.running).toBe(0);
    });
    gate.resolve();
    await bus.publish([signalCommand('wf-paused', 'resume')]);
    await eventually(async () => expect(await statusOf('job-paused')).toBe('COMPLETED'), { withinMs: 30_000 });
    expect(new Set(trainer.epochs).size).toBe(trainer.epochs.length);
    await expectSettled('job-paused', 3);
  });

  it('a failed job that is tried again goes on at its step, ends once more, and books the difference', async () => {
    let broken = true;
    const fails: Run = async ({ input }) => {
      if (broken) throw new ActivityError('TrainerOutOfMemory', 'too large', { retryable: false });
      return plausibleOutput('upload_artifacts', input);
    };
    const trainer = new CurveTrainer(() => 1);
    const { bus } = keep(await startEngine(db.url, { registry: impatientRegistry() }));
    await withWorkers(trainer, { ...plausible, upload_artifacts: fails });
    const input = { ...fineTuneInput(), jobId: 'job-retried' };
    await bus.publish([await takeIn(db.database, 'wf-retried', 'fine_tune', input, 30)]);
    await eventually(async () => expect(await statusOf('job-retried')).toBe('FAILED'));
    const failedJob = (await jobsLike(db.database, 'job-retried'))[0];
    expect(failedJob).toMatchObject({ finished: true, error: { code: 'TrainerOutOfMemory' } });
    await expectSettled('job-retried', 1);
    const [booked] = await rows<{ used: number }>(
      `select gpu_seconds_used as used from budget_ledger where job_id = 'job-retried'`,
    );
    broken = false;
    await bus.publish([signalCommand('wf-retried', 'retry')]);
    await eventually(async () => expect(await statusOf('job-retried')).toBe('COMPLETED'));
    expect((await jobsLike(db.database, 'job-retried'))[0]).toMatchObject({ finished: true, error: null });
    await expectSettled('job-retried', 1);
    const [again] = await rows<{ used: number }>(
      `select gpu_seconds_used as used from budget_ledger where job_id = 'job-retried'`,
    );
    // The evaluation ran on the GPU lane as well; the training was not run again.
    expect(again?.used).toBeGreaterThanOrEqual(booked?.used ?? Infinity);
    expect(trainer.epochs.filter((epoch) => epoch.startsWith('wf-retried'))).toHaveLength(1);
    const ends = await rows<{ n: number }>(
      `select count(*)::int as n from events where workflow_id = 'wf-retried' and type = 'RetryRequested'`,
    );
    expect(ends).toEqual([{ n: 1 }]);
  });

  it('a trial that failed and is tried again counts for its search', async () => {
    let broken = true;
    const uploads: Run = async ({ input, jobId }) => {
      if (broken && jobId.endsWith('trial-1')) throw new ActivityError('DiskFull', 'no space', { retryable: false });
      return plausibleOutput('upload_artifacts', input);
    };
    const gate = Promise.withResolvers<void>();
    const trainer = new CurveTrainer((rate) => rate);
    const slow: Run = async (context) => {
      if (context.jobId.endsWith('trial-0')) await gate.promise;
      return uploads(context);
    };
    const { bus } = keep(await startEngine(db.url, { registry: impatientRegistry() }));
    await withWorkers(trainer, { ...plausible, upload_artifacts: slow });
    const input = { ...hpoInput({ trials: 2, maxConcurrent: 2, pruning: { strategy: 'none' } }), jobId: 'job-child' };
    await bus.publish([await takeIn(db.database, 'wf-child', 'hpo', input)]);
    await eventually(async () => expect(await statusOf('job-child-trial-1')).toBe('FAILED'), { withinMs: 20_000 });
    expect(await statusOf('job-child')).toBe('RUNNING');
    broken = false;
    await bus.publish([signalCommand('wf-child~trial-1', 'retry')]);
    await eventually(async () => expect(await statusOf('job-child-trial-1')).toBe('COMPLETED'), { withinMs: 20_000 });
    gate.resolve();
    await eventually(async () => expect(await statusOf('job-child')).toBe('COMPLETED'), { withinMs: 20_000 });
    const result = (await jobsLike(db.database, 'job-child'))[0]?.result as { trials: { standing: string }[] };
    expect(result.trials.map(({ standing }) => standing)).toEqual(['completed', 'completed']);
  });
});

describe('people and traffic', () => {
  it('a job waits 30 days for its approvers and more for its canary, over restarts, and is promoted once', async () => {
    let days = 0;
    const now = () => Date.now() + days * DAY_MS;
    const engineAt = async () => startEngine(db.url, { registry: impatientRegistry(), now });
    let engine = await engineAt();
    const bus = await withWorkers(new CurveTrainer(() => 1));
    const approval = { required: 2, expiresAfterHours: 24 * 60, remindEveryHours: 24 * 7 };
    const { canary } = FULL_RELEASE;
    if (canary === undefined) throw new Error('a full release has one');
    const release = { ...FULL_RELEASE, approval, canary: { ...canary, maximumHours: 720 } };
    const input = { ...rlhfInput('dpo', release), jobId: 'job-aligned' };
    await bus.publish([await takeIn(db.database, 'wf-aligned', 'rlhf', input)]);
    const ticket = async () => (await rows<TicketRow>(`select * from approvals where id = 'job-aligned-release'`))[0];
    try {
      await eventually(async () => expect(await statusOf('job-aligned')).toBe('AWAITING_APPROVAL'), {
        withinMs: 20_000,
      });
      expect(await ticket()).toMatchObject({ status: 'open', required: 2, submitted_by: 'key-submitter', votes: [] });
      for (days of [8, 15, 22, 30]) {
        await engine.close();
        engine = await engineAt();
        const due = Math.floor(days / 7);
        await eventually(async () => expect((await ticket())?.reminders).toBe(due));
      }
      expect(await statusOf('job-aligned')).toBe('AWAITING_APPROVAL');
      const { digest = '' } = (await ticket()) ?? {};
      const vote = (by: string, of = digest) =>
        signalCommand(
          'wf-aligned',
          'approval.vote',
          { approval: 'release', decision: 'approve', comment: null, digest: of },
          by,
        );
      await bus.publish([vote('key-submitter'), vote('ann', 'f'.repeat(64)), vote('ann'), vote('ann'), vote('bob')]);
      await eventually(async () => expect(await statusOf('job-aligned')).toBe('CANARY'));
      const decided = await ticket();
      expect(decided?.votes.map(({ by }) => by)).toEqual(['ann', 'bob']);
      expect(decided !== undefined && chainHolds({ ...decided, digest })).toBe(true);
      const split = async () =>
        rows<object>(
          `select canary_version, baseline_version, weight_percent::float8, outcome from traffic_splits where job_id = 'job-aligned'`,
        );
      expect(await split()).toEqual([{ canary_version: 4, baseline_version: 2, weight_percent: 10, outcome: null }]);
      await engine.close();
      days = 45;
      engine = await engineAt();
      const verdict = signalCommand(
        'wf-aligned',
        'canary.verdict',
        { outcome: 'pass', reports: [] },
        'drift-monitor',
        'once',
      );
      await bus.publish([verdict, verdict]);
      await eventually(async () => expect(await statusOf('job-aligned')).toBe('COMPLETED'));
      expect(await split()).toMatchObject([{ outcome: 'pass' }]);
      expect(
        await rows(`select version, stage, job_id from promotions where model = 'demo-aligned' order by seq`),
      ).toEqual([
        { version: 4, stage: 'staging', job_id: 'job-aligned' },
        { version: 4, stage: 'prod', job_id: 'job-aligned' },
      ]);
      expect(await rows(`select name from timers where workflow_id = 'wf-aligned'`)).toEqual([]);
    } finally {
      await engine.close();
    }
  });

  it('an approval that nobody gives in time is rejected, and one whose report changed is void', async () => {
    let hours = 0;
    const { bus } = keep(
      await startEngine(db.url, { registry: impatientRegistry(), now: () => Date.now() + hours * 3_600_000 }),
    );
    await withWorkers(new CurveTrainer(() => 1));
    const { approval } = FULL_RELEASE;
    const release = { promote: true, ...(approval === undefined ? {} : { approval }) };
    for (const name of ['expired', 'voided']) {
      const input = { ...rlhfInput('dpo', release), jobId: `job-${name}` };
      await bus.publish([await takeIn(db.database, `wf-${name}`, 'rlhf', input)]);
      await eventually(async () => expect(await statusOf(`job-${name}`)).toBe('AWAITING_APPROVAL'), {
        withinMs: 20_000,
      });
    }
    await bus.publish([
      signalCommand('wf-voided', 'approval.void', { approval: 'release', reason: 'the report changed' }),
    ]);
    await eventually(async () => expect(await statusOf('job-voided')).toBe('REJECTED'));
    hours = 72.1;
    await eventually(async () => expect(await statusOf('job-expired')).toBe('REJECTED'));
    expect(
      await rows(`select id, status from approvals where job_id in ('job-expired', 'job-voided') order by id`),
    ).toEqual([
      { id: 'job-expired-release', status: 'expired' },
      { id: 'job-voided-release', status: 'voided' },
    ]);
    expect(await rows(`select 1 from promotions where job_id in ('job-expired', 'job-voided')`)).toEqual([]);
  });
});

interface TicketRow {
  readonly status: string;
  readonly subject: unknown;
  readonly digest: string;
  readonly votes: ApprovalTicket['votes'];
  readonly reminders: number;
}
