import { invariant } from '#lib/kernel/errors.ts';
import { Curves, Job } from './api-answers.ts';
import { followJob, stepsOf } from './follow-job.ts';
import type { HpoResult } from './hpo-answers.ts';
import type { Run } from './run-job.ts';

/** A pruned trial that went on to its end. */
export interface Revived {
  readonly number: number;
  readonly jobId: string;
  /** The step it was stopped at. */
  readonly from: number;
  readonly steps: number;
  readonly plannedSteps: number;
  /** Its last validation loss. */
  readonly value: number;
}

/** Resumes the first pruned trial of a finished search by REST and waits for its end. Null: none was pruned. */
export async function reviveOne({ scene }: Run, { trials }: HpoResult): Promise<Revived | null> {
  const { client, console, signal } = scene;
  const trial = trials.find(({ standing }) => standing === 'pruned');
  if (trial === undefined) return null;
  const { number, jobId, steps: from, plannedSteps } = trial;
  const path = `/v1/jobs/${jobId}`;
  const resumed = await client.call(Job, `${path}/resume`, { method: 'POST', body: {} });
  console.say(`resumed trial ${number}, which was pruned at step ${from}: ${jobId}`);
  const watch = stepsOf(client, `Trial ${number}, revived`);
  await followJob(client, resumed, { console, signal, watch });
  const { series } = await client.call(Curves, `${path}/metrics`);
  const last = series.find(({ name }) => name === 'validation.loss')?.points.at(-1);
  invariant(last !== undefined, 'a trial reports its validation loss');
  return { number, jobId, from, steps: last.step, plannedSteps, value: last.value };
}
