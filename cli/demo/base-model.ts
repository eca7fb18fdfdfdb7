import { BASE_CORPUS, type DemoBudget, demoJobs } from './demo-jobs.ts';
import type { JobRecord } from './job-record.ts';
import { jobPhases } from './phases.ts';
import { type Run, runFineTune } from './run-job.ts';

/** Enough for words; the demos that need a base only need one that has learnt something. */
export const SHORT_BASE_STEPS = 1_200;

/** The demo's base model, trained for a shorter time: `demo-base/1`. */
export async function trainBase(run: Run, baseSteps: number, heading: string): Promise<JobRecord> {
  const budget: DemoBudget = { baseSteps, loraSteps: 1 };
  const [first] = demoJobs(budget);
  const { title, ...submission } = first;
  const { record, wallSeconds } = await runFineTune(run, submission, {
    title: `${title}, ${BASE_CORPUS.title}`,
    heading: `${heading}: ${title}`,
  });
  run.scene.phases.push(
    ...jobPhases(`${record.version.name}/${record.version.version}`, wallSeconds, record.activities),
  );
  return record;
}
