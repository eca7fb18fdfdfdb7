import { randomUUID } from 'node:crypto';
import type { JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { Job } from './api-answers.ts';
import type { DemoScene } from './demo-platform.ts';
import { type EndedJob, followJob, recordOf, stepsOf, submitJob, type Watch } from './follow-job.ts';
import type { JobRecord } from './job-record.ts';

/** One demo on its platform: its jobs have keys of their own. */
export interface Run {
  readonly scene: DemoScene;
  /** The next idempotency key. */
  readonly nextKey: () => string;
}

export function startRun(scene: DemoScene, name: string): Run {
  const run = randomUUID().slice(0, 8);
  let jobs = 0;
  return { scene, nextKey: () => `${name}-${run}-${++jobs}` };
}

export interface Submission {
  readonly type: JobType;
  /** As a client writes it: what has a default may be left out. */
  readonly spec: { readonly [member: string]: unknown };
}

interface Titles {
  readonly title: string;
  readonly heading: string;
}

/** Submits a job and shows it until it has ended as it has to; `wallSeconds` is the time the client saw. */
export async function runJob(
  { scene: { client, console, signal }, nextKey }: Run,
  submission: Submission,
  { title, heading }: Titles,
  how: { readonly endsAs?: JobStatus; readonly watch?: (job: Job) => Watch } = {},
): Promise<EndedJob & { readonly wallSeconds: number }> {
  const begunAtMs = performance.now();
  const submitted = await submitJob(client, { ...submission, idempotencyKey: nextKey() });
  console.say(`submitted ${submitted.id}: ${title}`);
  const { endsAs = 'COMPLETED', watch = () => stepsOf(client, heading) } = how;
  const ended = await followJob(client, submitted, { console, signal, watch: watch(submitted), endsAs });
  return { ...ended, wallSeconds: (performance.now() - begunAtMs) / 1_000 };
}

/** The same for a fine-tuning, with all that it made. */
export async function runFineTune(
  run: Run,
  submission: Submission,
  titles: Titles,
): Promise<{ readonly record: JobRecord; readonly wallSeconds: number }> {
  const { wallSeconds, ...ended } = await runJob(run, submission, titles);
  return { record: await recordOf(run.scene.client, ended, titles.title), wallSeconds };
}
