/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { issueKey } from '../../../app/api-keys.ts';
import { findProject, listProjects, putProject } from '../../postgres/project-store.ts';
import { principalOf, projectOf, requirePlatformAdmin, scopeOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor, textPosition } from '../cursor.ts';
import { type Body, NewKey, PageQuery, ProjectChange, problems, ref } from '../schemas.ts';
import { keyView, projectView } from '../views.ts';

const ProjectId = Type.Object({ id: Name });
const tags = ['projects'];

export function projectRoutes(app: App, services: HttpServices): void {
  const { database } = services;
  app.get(
    '/v1/projects',
    {
      schema: {
        tags,
        summary: 'Projects, by id: the one of the key, or all of them for a platform admin',
        querystring: Type.Object(PageQuery, { additionalProperties: false }),
        response: { 200: ref('ProjectPage'), ...problems() },
      },
    },
    async (request): Promise<Body<'ProjectPage'>> => {
      const own = scopeOf(request, 'viewer');
      if (own !== null) {
        const project = await findProject(database, own);
        return { items: project === null ? [] : [projectView(project)], nextCursor: null };
      }
      const { limit, cursor } = request.query;
      const { items, next } = await listProjects(database, { limit, after: decodeCursor(cursor, textPosition) });
      return { items: items.map(projectView), nextCursor: next === null ? null : encodeCursor(next) };
    },
  );
  app.get(
    '/v1/projects/:id',
    {
      schema: {
        tags,
        summary: 'A project with its budget',
        params: ProjectId,
        response: { 200: ref('Project'), ...problems(404) },
      },
    },
    async (request) =>
      projectView(await existing(services, projectOf(request, 'viewer', request.params.id, '/path/id'))),
  );
  app.put(
    '/v1/projects/:id',
    {
      schema: {
        tags,
        summary: 'Create or change a project (platform admin)',
        params: ProjectId,
        body: ProjectChange,
        response: { 200: ref('Project'), 201: ref('Project'), ...problems(400, 404, 415) },
      },
    },
    async (request, reply) => {
      requirePlatformAdmin(request, request.params.id);
      const { project, created } = await putProject(database, request.params.id, request.body);
      request.log.info({ project: project.id, by: principalOf(request).keyId, created }, 'project changed');
      reply.code(created ? 201 : 200);
      return projectView(project);
    },
  );
  keyRoutes(app, services);
}

async function existing({ database }: HttpServices, id: string) {
  const project = await findProject(database, id);
  if (project === null) throw new TrainyardError('NotFound', `there is no project ${id}`);
  return project;
}

function keyRoutes(app: App, services: HttpServices): void {
  const { keys, gateway } = services;
  app.post(
    '/v1/projects/:id/keys',
    {
      schema: {
        tags,
        summary: 'Make an API key (admin); it is shown this once',
        params: ProjectId,
        body: NewKey,
        response: { 201: ref('IssuedKey'), ...problems(400, 404, 415) },
      },
    },
    async (request, reply): Promise<Body<'IssuedKey'>> => {
      const { id: project } = await existing(services, projectOf(request, 'admin', request.params.id, '/path/id'));
      const { role, name } = request.body;
      const { record, key } = await issueKey(keys, { project, role, name, nowMs: gateway.now() });
      request.log.info({ project, role, keyId: record.id, by: principalOf(request).keyId }, 'key issued');
      reply.code(201).header('cache-control', 'no-store');
      return { ...keyView(record), key };
    },
  );
  app.get(
    '/v1/projects/:id/keys',
    {
      schema: {
        tags,
        summary: 'API keys of a project (admin), without the keys themselves',
        params: ProjectId,
        response: { 200: ref('ApiKeyList'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ApiKeyList'>> => {
      const { id: project } = await existing(services, projectOf(request, 'admin', request.params.id, '/path/id'));
      return { items: (await keys.list(project)).map(keyView) };
    },
  );
  app.delete(
    '/v1/projects/:id/keys/:keyId',
    {
      schema: {
        tags,
        summary: 'Revoke an API key (admin); it works for a few seconds more',
        params: Type.Object({ ...ProjectId.properties, keyId: Type.String({ maxLength: 128 }) }),
        response: { 204: { description: 'revoked', type: 'null' }, ...problems(404) },
      },
    },
    async (request, reply) => {
      const { id, keyId } = request.params;
      const project = projectOf(request, 'admin', id, '/path/id');
      if (!(await keys.revoke(project, keyId))) throw new TrainyardError('NotFound', `there is no key ${keyId}`);
      request.log.info({ project, keyId, by: principalOf(request).keyId }, 'key revoked');
      return reply.code(204).send();
    },
  );
}
