import { setTimeout as delay } from 'node:timers/promises';
import { Value } from '#typebox/value';
import type { JobStatus } from '#lib/contracts/jobs.ts';
import {
  type Activity,
  ActivityList,
  Artifacts,
  Curves,
  FineTuneResult,
  isFinal,
  Job,
  JobFailure,
  Judged,
  LaneList,
  ModelVersion,
  modelOf,
} from './api-answers.ts';
import type { DemoConsole } from './console.ts';
import type { Display } from './display.ts';
import { advance, type JobProgress } from './job-progress.ts';
import type { JobRecord } from './job-record.ts';
import type { CurvePoint } from './learning-curves.ts';
import { progressFrame } from './progress-frame.ts';
import { progressLog } from './progress-log.ts';
import type { RestClient } from './rest-client.ts';

/** A job of the demo ended otherwise than hoped; `logTail` is the end of the training program's output. */
export class JobNotCompleted extends Error {
  readonly code: string;
  readonly logTail: readonly string[];

  constructor(job: Job, code: string, message: string, logTail: readonly string[]) {
    super(`job ${job.id} (${modelOf(job)}) ended ${job.status}: ${message}`);
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

export interface Following {
  readonly console: DemoConsole;
  readonly signal: AbortSignal;
  /** What is shown each time the job was looked at. */
  readonly watch: Watch;
  /** The status that the job has to end with; default COMPLETED. */
  readonly endsAs?: JobStatus;
}

/** Makes the display of a job that was just looked at; may ask for more. */
export type Watch = (job: Job, activities: readonly Activity[]) => Promise<Display>;

export interface EndedJob {
  readonly job: Job;
  readonly activities: readonly Activity[];
}

/** Shows the job on the console until it has ended. Throws `JobNotCompleted` unless it ends as it has to. */
export async function followJob(client: RestClient, submitted: Job, following: Following): Promise<EndedJob> {
  const { console, signal, watch, endsAs = 'COMPLETED' } = following;
  const path = `/v1/jobs/${submitted.id}`;
  const giveUpAtMs = performance.now() + JOB_LIMIT_MS;
  try {
    for (;;) {
      // The job first: when it has ended, what is read after it is complete.
      const job = await client.call(Job, path);
      const { items: activities } = await client.call(ActivityList, `${path}/activities`);
      console.show(await watch(job, activities));
      if (isFinal(job)) {
        if (job.status !== endsAs) throw notCompleted(job);
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

/** The steps of a flow, as a job goes through them. */
export function stepsOf(client: RestClient, heading: string): Watch {
  let progress: JobProgress | null = null;
  return async (job, activities) => {
    const { items: lanes } = await client.call(LaneList, '/v1/lanes');
    const gpuLane = lanes.find(({ lane }) => lane === 'gpu') ?? null;
    progress = advance(progress, { job, activities, gpuLane, atMs: Date.now() }, heading);
    return jobDisplay(progress);
  };
}

export const jobDisplay = (progress: JobProgress): Display => ({
  frame: (screen) => progressFrame(progress, screen),
  news: (said) => progressLog(said, progress),
});

function notCompleted(job: Job): JobNotCompleted {
  if (Value.Check(JobFailure, job.error))
    return new JobNotCompleted(job, job.error.code, job.error.message, job.error.logTail ?? []);
  const { evaluation, safety } = Value.Check(Judged, job.result) ? job.result : {};
  const reasons = [safety, evaluation]
    .flatMap((judged) => judged?.gate.results ?? [])
    .filter(({ passed }) => !passed)
    .map(({ reason }) => reason);
  const why = reasons.length === 0 ? 'the answer gives no reason' : `the policy said no: ${reasons.join('; ')}`;
  return new JobNotCompleted(job, job.status, why, []);
}

/** What a completed job made. */
export async function recordOf(client: RestClient, { job, activities }: EndedJob, title: string): Promise<JobRecord> {
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
