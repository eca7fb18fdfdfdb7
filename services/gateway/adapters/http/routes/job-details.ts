/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { Value } from '#typebox/value';
import { ACTIVITIES, type ActivityName, type ActivityOutput } from '#lib/contracts/activities.ts';
import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelVersion } from '#lib/model-registry/port.ts';
import { readManifest } from '#lib/object-store/manifest.ts';
import { findJob } from '../../../app/job-commands.ts';
import type { JobRow } from '../../../app/ports.ts';
import { listEvents } from '../../postgres/event-queries.ts';
import { activityOutput, listActivities, trainingCurves } from '../../postgres/job-queries.ts';
import { scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { eventView, streamEvents } from '../event-stream.ts';
import { type Body, problems, ref } from '../schemas.ts';
import { activityView } from '../views.ts';
import { JobId } from './jobs.ts';

const tags = ['jobs'];

/** What the answer of a job says about the version it made, whoever of its family made it. */
const WithModel = Type.Object({ model: Type.Object({ name: Type.String(), version: Type.Integer() }) });

export function jobDetailRoutes(app: App, services: HttpServices): void {
  eventRoute(app, services);
  const { gateway, database } = services;
  app.get(
    '/v1/jobs/:id/activities',
    {
      schema: {
        tags,
        summary: 'The steps of a job',
        params: JobId,
        response: { 200: ref('ActivityList'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ActivityList'>> => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      return { items: (await listActivities(database, job.workflowId)).map(activityView) };
    },
  );
  app.get(
    '/v1/jobs/:id/metrics',
    {
      schema: {
        tags,
        summary: 'Training curves',
        params: JobId,
        querystring: Type.Object(
          {
            name: Type.Optional(Type.String({ maxLength: 200 })),
            afterStep: Type.Integer({ minimum: -1, default: -1, maximum: 2_147_483_647 }),
            maxPoints: Type.Integer({ minimum: 2, maximum: 10_000, default: 1_000, description: 'per curve' }),
          },
          { additionalProperties: false },
        ),
        response: { 200: ref('Curves'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'Curves'>> => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      const { name = null, afterStep, maxPoints } = request.query;
      const series = await trainingCurves(database, job.id, { name, afterStep, maxPoints });
      return { jobId: job.id, series: series.map((curve) => ({ ...curve, points: [...curve.points] })) };
    },
  );
  resultRoutes(app, services);
}

/** A log has fewer events than this; `int4` in the database. */
const MAX_SEQ = 2_147_483_647;

function eventRoute(app: App, { gateway, database, tail, limits }: HttpServices): void {
  app.get(
    '/v1/jobs/:id/events',
    {
      schema: {
        tags,
        summary: 'The event log of a job',
        description:
          'With `Accept: text/event-stream` a stream of server-sent events that goes on until the job has ended; `Last-Event-ID` continues after that event.',
        params: JobId,
        querystring: Type.Object(
          {
            after: Type.Integer({
              minimum: 0,
              maximum: MAX_SEQ,
              default: 0,
              description: 'seq of the last event seen',
            }),
            limit: Type.Integer({ minimum: 1, maximum: 1_000, default: 200 }),
          },
          { additionalProperties: false },
        ),
        headers: Type.Object({
          'last-event-id': Type.Optional(Type.String({ pattern: '^[0-9]{1,9}$', description: 'instead of `after`' })),
        }),
        response: {
          200: {
            description: 'a page, or a stream',
            content: {
              'application/json': { schema: ref('EventPage') },
              'text/event-stream': { schema: Type.String() },
            },
          },
          ...problems(404),
        },
      },
    },
    async (request, reply) => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      const { after, limit } = request.query;
      const afterSeq = Number(request.headers['last-event-id'] ?? after);
      const { workflowId } = job;
      if (/\btext\/event-stream\b/.test(request.headers.accept ?? '')) {
        if (tail.full) throw new TrainyardError('ServiceUnavailable', 'too many event streams are open here');
        streamEvents(reply, tail, { workflowId, afterSeq, heartbeatMs: limits.heartbeatMs });
        return reply;
      }
      const events = await listEvents(database, workflowId, { afterSeq, limit });
      const page: Body<'EventPage'> = {
        items: events.map(eventView),
        nextAfter: events.length < limit ? null : (events.at(-1)?.seq ?? null),
      };
      return page;
    },
  );
}

/** What an activity of the job answered; null while it has not. */
async function output<A extends ActivityName>(
  { database }: Pick<HttpServices, 'database'>,
  job: JobRow,
  activity: A,
): Promise<ActivityOutput<A> | null> {
  const found = await activityOutput(database, job.workflowId, activity);
  return Value.Check(ACTIVITIES[activity].output, found) ? (found as ActivityOutput<A>) : null;
}

const aligns = (job: JobRow): boolean => job.type === 'rlhf';

/** The version of the job, or of the child that made it (a trial, the training of a retrain); null while there is none. */
async function versionOf(services: HttpServices, job: JobRow): Promise<ModelVersion | null> {
  const made =
    (await output(services, job, aligns(job) ? 'register_aligned_model' : 'register_model')) ??
    (Value.Check(WithModel, job.result) ? job.result.model : null);
  if (made === null) return null;
  const found = await services.gateway.registry.getVersion(job.project, made.name, made.version);
  if (found === null) throw new TrainyardError('NotFound', `the registry has no ${made.name}/${made.version}`);
  return found;
}

/** The manifest that the job made, or that of its version. */
async function artifactsOf(services: HttpServices, job: JobRow): Promise<{ manifestKey: string; digest: string }> {
  const own = await (aligns(job)
    ? output(services, job, 'run_alignment_training')
    : output(services, job, 'upload_artifacts'));
  if (own !== null) return own.artifacts;
  const version = await versionOf(services, job);
  if (version === null) throw nothing(job, 'artifacts');
  return { manifestKey: version.manifestKey, digest: version.lineage.manifestDigest };
}

const nothing = (job: JobRow, what: string): TrainyardError =>
  new TrainyardError(
    'NotFound',
    FINAL_STATUSES.includes(job.status)
      ? `the job ended ${job.status} and has no ${what}`
      : `the job is ${job.status} and has no ${what} yet`,
    { details: { jobId: job.id, jobStatus: job.status } },
  );

function resultRoutes(app: App, services: HttpServices): void {
  const { gateway } = services;
  app.get(
    '/v1/jobs/:id/artifacts',
    {
      schema: {
        tags,
        summary: 'What the job made: its manifest',
        description: 'Of a search or a retrain: those of the version it made. 404 until they are uploaded.',
        params: JobId,
        response: { 200: ref('Artifacts'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'Artifacts'>> => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      const { manifestKey, digest } = await artifactsOf(services, job);
      const manifest = await readManifest(gateway.objects, manifestKey, { expectedDigest: digest });
      const files = manifest.files.map(({ path, key, bytes, sha256, partSize }) => ({
        path,
        key,
        bytes,
        sha256,
        partSize,
      }));
      return { jobId: job.id, manifestKey, digest, epoch: manifest.createdBy.epoch, files };
    },
  );
  app.get(
    '/v1/jobs/:id/lineage',
    {
      schema: {
        tags,
        summary: 'The model version the job made, and where it came from',
        description: 'Of a search or a retrain: the version that its child made. 404 until the model is registered.',
        params: JobId,
        response: { 200: ref('ModelVersion'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ModelVersion'>> => {
      const job = await findJob(gateway, request.params.id, scopeOf(request, 'viewer'));
      const found = await versionOf(services, job);
      if (found === null) throw nothing(job, 'model version');
      return { ...found, lineage: { ...found.lineage }, tags: { ...found.tags } };
    },
  );
}
