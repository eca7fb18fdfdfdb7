/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import type { FastifyRequest } from 'fastify';
import { Type } from '#typebox';
import { JOB_STATUS, JOB_TYPES } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { cancelJob, changeJob, deleteJob, findJob } from '../../../app/job-commands.ts';
import type { JobRow } from '../../../app/ports.ts';
import { submitJob } from '../../../app/submit-job.ts';
import { explain } from '../../../domain/field-errors.ts';
import { JobChange } from '../../../domain/submission.ts';
import { laneSeconds, listJobs } from '../../postgres/job-queries.ts';
import { principalOf, projectOf, scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor, jobPosition } from '../cursor.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';
import { SUBMIT_JOB } from '../submit-schemas.ts';
import { passThrough } from '../validation.ts';
import { jobView } from '../views.ts';

export const JobId = Type.Object({ id: Type.String({ maxLength: 128, description: 'id of the job' }) });
const tags = ['jobs'];

export function jobRoutes(app: App, services: HttpServices): void {
  submitRoute(app, services);
  listRoute(app, services);
  commandRoutes(app, services);
  const { gateway } = services;
  app.get(
    '/v1/jobs/:id',
    {
      schema: { tags, summary: 'A job', params: JobId, response: { 200: ref('Job'), ...problems(404) } },
    },
    async (request) => shownJob(services, await findJob(gateway, request.params.id, scopeOf(request, 'viewer'))),
  );
}

/** Project and id for a command on a job. Another project's job is not found, whatever the role; then the role counts. */
export async function commanded(
  request: FastifyRequest<{ Params: { id: string } }>,
  { gateway }: HttpServices,
): Promise<{ id: string; project: string | null }> {
  const { id } = request.params;
  await findJob(gateway, id, scopeOf(request, 'viewer'));
  return { id, project: scopeOf(request, 'submitter') };
}

/** The job with the lane time it has used. */
export async function shownJob({ database }: HttpServices, job: JobRow): Promise<Body<'Job'>> {
  return jobView(job, (await laneSeconds(database, [job.workflowId])).get(job.workflowId));
}

function submitRoute(app: App, services: HttpServices): void {
  app.post(
    '/v1/jobs',
    {
      // The spec's schema depends on the type, and the answer must name every wrong field: the domain parses the body.
      validatorCompiler: passThrough,
      schema: {
        tags,
        summary: 'Submit a job',
        description:
          'The idempotency key is required, in the body or as a header. The same key with the same body is the same job (200), with another body a conflict (409). `dryRun=true` checks everything else and stores nothing; it needs no key.',
        querystring: Type.Object(
          { dryRun: Type.Boolean({ default: false }), ...ProjectQuery },
          { additionalProperties: false },
        ),
        headers: Type.Object({
          'idempotency-key': Type.Optional(Type.String({ description: 'instead of the member of the body' })),
        }),
        body: SUBMIT_JOB,
        response: {
          200: {
            description: 'the job that this key made before, or the result of a dry run',
            content: { 'application/json': { schema: Type.Union([ref('Job'), ref('DryRun')]) } },
          },
          201: ref('Job'),
          ...problems(400, 402, 404, 409, 413, 415),
        },
      },
    },
    async (request, reply) => {
      const { dryRun, project: inQuery } = request.query;
      const project = submittedProject(request, request.body, inQuery);
      const type = String((request.body as { type?: unknown } | null)?.type);
      const count = (outcome: string): void =>
        services.httpMetrics.submits.inc({
          type: (JOB_TYPES as readonly string[]).includes(type) ? type : 'unknown',
          outcome,
        });
      try {
        const headerKey = request.headers['idempotency-key'];
        const result = await submitJob(services.gateway, {
          project,
          body: request.body,
          headerKey,
          dryRun,
          submittedBy: principalOf(request).keyId,
        });
        count(result.kind);
        if (result.kind === 'dryRun') {
          const { submission, gpuSecondsEstimate, gpuSecondsFree } = result;
          return { valid: true, gpuSecondsEstimate, gpuSecondsFree, spec: submission.spec };
        }
        if (result.kind === 'existing') return await shownJob(services, result.job);
        reply.code(201).header('location', `/v1/jobs/${result.job.id}`);
        return jobView(result.job);
      } catch (error) {
        count(error instanceof TrainyardError ? error.code : 'Internal');
        throw error;
      }
    },
  );
}

function submittedProject(request: FastifyRequest, body: unknown, inQuery: string | undefined): string {
  // Before a platform admin is asked for the project: this is what is wrong then.
  const fields = explain(Type.Object({}), body);
  if (fields.length > 0) throw new TrainyardError('ValidationFailed', 'the job does not match its schema', { fields });
  const { project: inBody } = body as { project?: unknown };
  const named = typeof inBody === 'string' ? inBody : inQuery;
  if (named !== undefined && inQuery !== undefined && named !== inQuery)
    throw new TrainyardError('ValidationFailed', 'two projects are named', {
      fields: [{ pointer: '/project', message: 'differs from the one in the query' }],
    });
  return projectOf(request, 'submitter', named, '/project');
}

function listRoute(app: App, { database }: HttpServices): void {
  const Filter = Type.Object(
    {
      ...ProjectQuery,
      ...PageQuery,
      status: Type.Array(Type.Unsafe<string>({ type: 'string', enum: Object.values(JOB_STATUS) }), {
        default: [],
        maxItems: 15,
        description: 'any of these',
      }),
      type: Type.Array(Type.Unsafe<string>({ type: 'string', enum: [...JOB_TYPES] }), { default: [], maxItems: 5 }),
      label: Type.Array(Type.String({ pattern: '^[^:]{1,63}:', maxLength: 320 }), {
        default: [],
        maxItems: 16,
        description: '`name:value`; a job must have all of them',
      }),
      parent: Type.Optional(Type.String({ maxLength: 128, description: 'the jobs that this one started' })),
      includeChildren: Type.Boolean({
        default: false,
        description: 'also jobs that another one started; left out else',
      }),
    },
    { additionalProperties: false },
  );
  app.get(
    '/v1/jobs',
    {
      schema: {
        tags,
        summary: 'Jobs, newest first',
        querystring: Filter,
        response: { 200: ref('JobPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'JobPage'>> => {
      const { project: named, status: statuses, type: types, label, limit, cursor } = request.query;
      const project = scopeOf(request, 'viewer', named);
      const labels = Object.fromEntries(label.map((text) => splitAt(text, text.indexOf(':'))));
      const after = decodeCursor(cursor, jobPosition);
      const { parent = null, includeChildren } = request.query;
      const children = parent === null ? (includeChildren ? 'shown' : 'hidden') : { of: parent };
      const filter = { project, statuses, types, labels, children } as const;
      const { jobs, next } = await listJobs(database, filter, { limit, after });
      const seconds = await laneSeconds(
        database,
        jobs.map((job) => job.workflowId),
      );
      return {
        items: jobs.map((job) => jobView(job, seconds.get(job.workflowId))),
        nextCursor: next === null ? null : encodeCursor(next),
      };
    },
  );
}

const splitAt = (text: string, at: number): [string, string] => [text.slice(0, at), text.slice(at + 1)];

function commandRoutes(app: App, services: HttpServices): void {
  const { gateway } = services;
  app.post(
    '/v1/jobs/:id/cancel',
    {
      schema: {
        tags,
        summary: 'Ask for a job to be stopped',
        description: 'Answers at once; the job is stopped when its status is CANCELLED.',
        params: JobId,
        body: Type.Object(
          { reason: Type.Optional(Type.String({ maxLength: 1_000 })) },
          { additionalProperties: false, default: {} },
        ),
        response: { 202: ref('Job'), ...problems(400, 404, 409, 415) },
      },
    },
    async (request, reply) => {
      const target = await commanded(request, services);
      const by = principalOf(request).keyId;
      const job = await cancelJob(gateway, { ...target, by, reason: request.body.reason ?? null });
      reply.code(202);
      return shownJob(services, job);
    },
  );
  app.patch(
    '/v1/jobs/:id',
    {
      schema: {
        tags,
        summary: "Replace a job's labels or description",
        params: JobId,
        body: JobChange,
        response: { 200: ref('Job'), ...problems(400, 404, 415) },
      },
    },
    async (request) => {
      const target = await commanded(request, services);
      return shownJob(services, await changeJob(gateway, { ...target, change: request.body }));
    },
  );
  app.delete(
    '/v1/jobs/:id',
    {
      schema: {
        tags,
        summary: 'Delete an ended job, with its children',
        description:
          'They are shown no more; a child is not deleted alone (409). Its idempotency key stays used; its artifacts and model versions stay.',
        params: JobId,
        response: { 204: { description: 'deleted', type: 'null' }, ...problems(404, 409) },
      },
    },
    async (request, reply) => {
      const { id, project } = await commanded(request, services);
      await deleteJob(gateway, id, project);
      return reply.code(204).send();
    },
  );
}
