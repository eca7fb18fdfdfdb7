import { setTimeout as delay } from 'node:timers/promises';
import { Value } from 'typebox/value';
import {
  type Activity,
  ActivityList,
  Artifacts,
  Curves,
  FineTuneResult,
  isFinal,
  Job,
  JobFailure,
  LaneList,
  ModelVersion,
} from './api-answers.ts';
import type { DemoConsole } from './console.ts';
import { advance, type JobProgress } from './job-progress.ts';
import type { JobRecord } from './job-record.ts';
import type { CurvePoint } from './learning-curves.ts';
import type { RestClient } from './rest-client.ts';

/** A job of the demo ended otherwise than hoped; `logTail` is the end of the training program's output. */
export class JobNotCompleted extends Error {
  readonly code: string;
  readonly logTail: readonly string[];

  constructor(job: Job, code: string, message: string, logTail: readonly string[]) {
    super(`job ${job.id} (${job.spec.model.name}) ended ${job.status}: ${message}`);
    this.name = 'JobNotCompleted';
    this.code = code;
    this.logTail = logTail;
  }
}

/** Three calls each time: far below the rate limit, and the display moves whenever a heartbeat (1 s) brings something. */
const POLL_EVERY_MS = 250;
/** Many times what the slowest machine needs; a job that hangs must not hang the demo. */
const JOB_LIMIT_MS = 20 * 60_000;
const CURVE_POINTS = 400;

export function submitJob(client: RestClient, submission: unknown): Promise<Job> {
  return client.call(Job, '/v1/jobs', { method: 'POST', body: submission });
}

/** Shows the job on the console until it has ended. Throws `JobNotCompleted` unless it is COMPLETED. */
export async function followJob(
  client: RestClient,
  submitted: Job,
  {
    heading,
    console,
    signal,
  }: { readonly heading: string; readonly console: DemoConsole; readonly signal: AbortSignal },
): Promise<{ job: Job; activities: readonly Activity[] }> {
  const path = `/v1/jobs/${submitted.id}`;
  const giveUpAtMs = performance.now() + JOB_LIMIT_MS;
  let progress: JobProgress | null = null;
  try {
    for (;;) {
      // The job first: when it has ended, what is read after it is complete.
      const job = await client.call(Job, path);
      const { items: activities } = await client.call(ActivityList, `${path}/activities`);
      const { items: lanes } = await client.call(LaneList, '/v1/lanes');
      const gpuLane = lanes.find(({ lane }) => lane === 'gpu') ?? null;
      progress = advance(progress, { job, activities, gpuLane, atMs: Date.now() }, heading);
      console.show(progress);
      if (isFinal(job)) {
        if (job.status !== 'COMPLETED') throw notCompleted(job);
        return { job, activities };
      }
      if (performance.now() > giveUpAtMs)
        throw new JobNotCompleted(job, 'ExecutionTimeout', `no end after ${JOB_LIMIT_MS / 60_000} minutes`, []);
      await delay(POLL_EVERY_MS, undefined, { signal });
    }
  } finally {
    console.settle();
  }
}

function notCompleted(job: Job): JobNotCompleted {
  if (Value.Check(JobFailure, job.error))
    return new JobNotCompleted(job, job.error.code, job.error.message, job.error.logTail ?? []);
  if (Value.Check(FineTuneResult, job.result)) {
    const reasons = job.result.evaluation.gate.results.filter(({ passed }) => !passed).map(({ reason }) => reason);
    return new JobNotCompleted(job, job.status, `the evaluation policy said no: ${reasons.join('; ')}`, []);
  }
  return new JobNotCompleted(job, job.status, 'the answer gives no reason', []);
}

/** What a completed job made. */
export async function recordOf(
  client: RestClient,
  { job, activities }: { readonly job: Job; readonly activities: readonly Activity[] },
  title: string,
): Promise<JobRecord> {
  const path = `/v1/jobs/${job.id}`;
  if (!Value.Check(FineTuneResult, job.result)) throw notCompleted(job);
  const { series } = await client.call(Curves, `${path}/metrics?maxPoints=${CURVE_POINTS}`);
  const { files } = await client.call(Artifacts, `${path}/artifacts`);
  const version = await client.call(ModelVersion, `${path}/lineage`);
  const curve = (name: string): readonly CurvePoint[] => series.find((found) => found.name === name)?.points ?? [];
  const curves = {
    title: `${version.name}/${version.version}: ${title}`,
    train: curve('train.loss'),
    validation: curve('validation.loss'),
  };
  return { job, activities, result: job.result, version, files, curves };
}
