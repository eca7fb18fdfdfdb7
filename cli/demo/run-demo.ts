import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import { BASE_CORPUS, type DemoBudget, demoJobs, NEW_CORPUS } from './demo-jobs.ts';
import { type DemoScene, exampleCorpus, onDemoPlatform, type PlatformSetting, shown, upload } from './demo-platform.ts';
import type { JobRecord } from './job-record.ts';
import { lossCurveSvg } from './loss-curve-svg.ts';
import { jobPhases } from './phases.ts';
import { DemoReport, demoReport } from './report.ts';
import { type Run, runFineTune, startRun } from './run-job.ts';

export interface DemoOptions extends PlatformSetting {
  readonly budget: DemoBudget;
}

export interface DemoOutcome {
  readonly report: DemoReport;
  readonly records: readonly [JobRecord, JobRecord];
}

/**
 * Starts the platform, makes two models through its REST API, and stops it again, whatever happens. Throws `JobNotCompleted`, `ApiProblem`,
 * what `startPlatform` throws, or the reason of the signal.
 */
export async function runDemo(options: DemoOptions): Promise<DemoOutcome> {
  const { home, budget } = options;
  const { made: records, phases } = await onDemoPlatform(options, async (scene) => {
    await scene.timed('uploads', async () => {
      for (const { dataset, title } of [BASE_CORPUS, NEW_CORPUS])
        await upload(scene, { dataset, title, body: exampleCorpus(dataset) });
    });
    return runJobs(startRun(scene, 'demo'), scene, budget);
  });
  const lossCurve = join(home, 'loss-curve.svg');
  const report = demoReport(records, phases, { home: shown(home), lossCurve: shown(lossCurve) });
  invariant(Value.Check(DemoReport, report), 'the report matches its schema');
  const curves = records.map((record) => record.curves);
  await writeFile(lossCurve, lossCurveSvg('Trainyard demo: two trainings', curves));
  await writeFile(join(home, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  return { report, records };
}

async function runJobs(run: Run, { phases }: DemoScene, budget: DemoBudget) {
  const jobs = demoJobs(budget);
  const records: JobRecord[] = [];
  for (const [index, { title, ...submission }] of jobs.entries()) {
    const heading = `Job ${index + 1} of ${jobs.length}: ${title}`;
    const { record, wallSeconds } = await runFineTune(run, submission, { title, heading });
    records.push(record);
    phases.push(...jobPhases(record.version.name, wallSeconds, record.activities));
  }
  const [base, tuned] = records;
  invariant(base !== undefined && tuned !== undefined, 'the demo has two jobs');
  return [base, tuned] as const;
}
