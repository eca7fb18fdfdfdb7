/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import type { HpoSpec } from '#lib/contracts/hpo-job.ts';
import { type FineTuneSpec, JOB_STATUS } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { findJob } from '../../../app/job-commands.ts';
import { configurationOf } from '../../../domain/trial-configuration.ts';
import { listTrials, type TrialRecord } from '../../postgres/trial-queries.ts';
import { scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { type Body, problems, ref } from '../schemas.ts';
import { JobId } from './jobs.ts';

export function trialRoutes(app: App, { gateway, database }: HttpServices): void {
  app.get(
    '/v1/jobs/:id/trials',
    {
      schema: {
        tags: ['jobs'],
        summary: 'The trials of a search',
        description:
          'Those that were started, in that order, as they stand now; each is a job of its own. Why one was pruned, importance of the parameters and the best trial are in the `result` of the search. 404 for a job that is no search.',
        params: JobId,
        response: { 200: ref('TrialList'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'TrialList'>> => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      if (job.type !== 'hpo') throw new TrainyardError('NotFound', `job ${job.id} is a ${job.type}: it has no trials`);
      // Checked when the job was taken in.
      const spec = job.spec as HpoSpec;
      const { metric, direction } = spec.objective;
      const trials = await listTrials(database, job.id, metric);
      return {
        jobId: job.id,
        metric,
        direction,
        items: trials.map((trial, index) => trialView(trial, index, spec)),
        result: job.result,
      };
    },
  );
}

function trialView(trial: TrialRecord, index: number, { space }: HpoSpec): Body<'TrialList'>['items'][number] {
  const { job_id: jobId, status, child, step, value } = trial;
  const lastReport = step === null || value === null ? null : { step, value };
  return {
    number: Number(/(\d+)$/.exec(child ?? '')?.[1] ?? index),
    jobId,
    status,
    configuration: { ...configurationOf(space, trial.spec as FineTuneSpec) },
    value: status === JOB_STATUS.completed ? value : null,
    lastReport,
    gpuSeconds: trial.gpu_seconds,
    links: { self: `/v1/jobs/${jobId}` },
  };
}
