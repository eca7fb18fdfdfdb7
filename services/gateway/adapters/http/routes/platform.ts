/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { ERROR_CATALOGUE, isErrorCode } from '#lib/kernel/error-catalogue.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { listLanes, listWorkers } from '../../postgres/lane-queries.ts';
import { scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { type Body, problems, ref } from '../schemas.ts';
import { laneView, workerView } from '../views.ts';

/** Lanes and workers: no tenant's data, so any key may read them. */
export function laneRoutes(app: App, { database }: HttpServices): void {
  const tags = ['lanes'];
  app.get(
    '/v1/lanes',
    { schema: { tags, summary: 'Slots and queue per lane', response: { 200: ref('LaneList'), ...problems() } } },
    async (request): Promise<Body<'LaneList'>> => {
      scopeOf(request, 'viewer');
      return { items: (await listLanes(database)).map(laneView) };
    },
  );
  app.get(
    '/v1/workers',
    { schema: { tags, summary: 'Workers as last heard of', response: { 200: ref('WorkerList'), ...problems() } } },
    async (request): Promise<Body<'WorkerList'>> => {
      scopeOf(request, 'viewer');
      return { items: (await listWorkers(database)).map(workerView) };
    },
  );
}

/** What needs no key: probes, metrics, the meaning of an error code. */
export function openRoutes(app: App, { readiness, metrics }: HttpServices): void {
  const tags = ['operations'];
  app.get(
    '/healthz',
    {
      schema: {
        tags,
        security: [],
        summary: 'The process is alive',
        response: { 200: Type.Object({ status: Type.Literal('alive') }) },
      },
    },
    async () => ({ status: 'alive' }),
  );
  app.get(
    '/readyz',
    {
      schema: {
        tags,
        security: [],
        summary: 'Whether requests can be served, with a reason per component',
        response: { 200: ref('Readiness'), 503: ref('Readiness') },
      },
    },
    async (_request, reply) => {
      const report = await readiness.report();
      reply.code(report.ready ? 200 : 503).header('cache-control', 'no-store');
      return report;
    },
  );
  app.get(
    '/metrics',
    {
      schema: {
        tags,
        security: [],
        summary: 'Prometheus metrics',
        response: { 200: { description: 'text format', content: { 'text/plain': { schema: Type.String() } } } },
      },
    },
    async (_request, reply) => {
      reply.type(metrics.contentType);
      return metrics.metrics();
    },
  );
  errorRoute(app);
}

function errorRoute(app: App): void {
  app.get(
    '/errors/:code',
    {
      schema: {
        tags: ['operations'],
        security: [],
        summary: 'What an error code means and what to do',
        params: Type.Object({ code: Type.String({ maxLength: 64 }) }),
        response: {
          200: Type.Object({
            code: Type.String(),
            cause: Type.String(),
            remedy: Type.String(),
            class: Type.String(),
            http: Type.Optional(Type.Integer()),
          }),
          404: { description: 'no such code', content: { 'application/problem+json': { schema: ref('Problem') } } },
        },
      },
    },
    async (request) => {
      const { code } = request.params;
      if (!isErrorCode(code)) throw new TrainyardError('NotFound', `there is no error code ${code}`);
      return { code, ...ERROR_CATALOGUE[code] };
    },
  );
}
