/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { type JobSignal, JOB_SIGNALS, signalJob } from '../../../app/job-signals.ts';
import { principalOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { problems, ref } from '../schemas.ts';
import { commanded, JobId, shownJob } from './jobs.ts';

const DESCRIPTIONS: Readonly<Record<JobSignal, { summary: string; description: string }>> = {
  pause: {
    summary: 'Ask for a job to be paused',
    description:
      'What runs saves a checkpoint and stops, and nothing more is placed until the job is resumed. Answers at once; the job is paused when its status is PAUSED. Not of a job that has ended (409).',
  },
  resume: {
    summary: 'Ask for a paused job to go on',
    description:
      'From its newest checkpoint; a pruned trial of a search is revived. Only of a job that is PAUSED (409).',
  },
  retry: {
    summary: 'Ask for a failed job to be tried again',
    description:
      'At the step that failed, with its checkpoint and a full set of attempts. Only of a job that is FAILED, and of which a single step failed; where a child did, retry that (409).',
  },
};

const Reason = Type.Object(
  { reason: Type.Optional(Type.String({ maxLength: 1_000, description: 'for people' })) },
  { additionalProperties: false, default: {} },
);
const Nothing = Type.Object({}, { additionalProperties: false, default: {} });

/** `POST /v1/jobs/{id}/pause`, `/resume`, `/retry`. */
export function jobSignalRoutes(app: App, services: HttpServices): void {
  for (const signal of JOB_SIGNALS)
    app.post(
      `/v1/jobs/:id/${signal}`,
      {
        schema: {
          tags: ['jobs'],
          ...DESCRIPTIONS[signal],
          params: JobId,
          body: signal === 'pause' ? Reason : Nothing,
          response: { 202: ref('Job'), ...problems(400, 404, 409, 415) },
        },
      },
      async (request, reply) => {
        const target = await commanded(request, services);
        const { reason = null } = request.body as { reason?: string };
        const by = principalOf(request).keyId;
        const job = await signalJob(services.gateway, { ...target, signal, by, reason });
        reply.code(202);
        return shownJob(services, job);
      },
    );
}
