/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor, integerPosition, textPosition } from '../cursor.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';

const Query = Type.Object({ ...ProjectQuery, ...PageQuery }, { additionalProperties: false });
const tags = ['models'];

export function modelRoutes(app: App, { gateway, promotions }: HttpServices): void {
  const { registry } = gateway;
  app.get(
    '/v1/models',
    {
      schema: {
        tags,
        summary: 'Registered models, by name',
        querystring: Query,
        response: { 200: ref('ModelPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ModelPage'>> => {
      const { project: named, limit, cursor } = request.query;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const after = decodeCursor(cursor, textPosition);
      // One more than shown: whether there is a next page.
      const found = await registry.listModels(project, { limit: limit + 1, ...(after === null ? {} : { after }) });
      const items = found.slice(0, limit);
      const last = items.at(-1);
      return { items, nextCursor: found.length > limit && last !== undefined ? encodeCursor(last.name) : null };
    },
  );
  app.get(
    '/v1/models/:name/versions',
    {
      schema: {
        tags,
        summary: 'Versions of a model, newest first',
        params: Type.Object({ name: Name }),
        querystring: Query,
        response: { 200: ref('ModelVersionPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ModelVersionPage'>> => {
      const { project: named, limit, cursor } = request.query;
      const { name } = request.params;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const before = decodeCursor(cursor, integerPosition);
      const page = { limit: limit + 1, ...(before === null ? {} : { before }) };
      const found = await registry.listVersions(project, name, page);
      if (found.length === 0 && before === null)
        throw new TrainyardError('NotFound', `there is no model ${name} in the project`);
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      // The ledger's stage is the true one; the registry follows it, later when it was down.
      const stages = await promotions.stages(project, name);
      return {
        items: shown.map((version) => ({
          ...version,
          stage: stages.get(version.version) ?? version.stage,
          lineage: { ...version.lineage },
          tags: { ...version.tags },
        })),
        nextCursor: found.length > limit && last !== undefined ? encodeCursor(last.version) : null,
      };
    },
  );
}
