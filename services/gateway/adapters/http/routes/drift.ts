/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import { Type } from '#typebox';
import { Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import { ReferenceBody, referenceOf } from '../../../domain/reference-body.ts';
import { listSignals, listWatches, readReference, writeReference } from '../../postgres/drift-queries.ts';
import { principalOf, projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { SignalOutcomeName } from '../drift-schemas.ts';
import { signalView, watchView } from '../drift-views.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';

/** Windows shown of each version. */
const SHOWN_WINDOWS = 10;

/** A profile of 500 numeric features: 500 x 4,096 quantiles of some 18 characters. */
const REFERENCE_LIMIT_BYTES = 48 * 1_048_576;

const Model = { model: Type.Optional(Name) };
const InProject = Type.Object(ProjectQuery, { additionalProperties: false });
const VersionPath = Type.Object({ name: Name, version: Type.String({ pattern: '^[1-9][0-9]{0,8}$' }) });
const tags = ['drift'];

/** What production looks like beside training. */
export function driftRoutes(app: App, services: HttpServices): void {
  watchRoutes(app, services);
  referenceRoutes(app, services);
}

function watchRoutes(app: App, { database }: HttpServices): void {
  app.get(
    '/v1/drift',
    {
      schema: {
        tags,
        summary: 'Watched model versions with their last windows, by model and version',
        querystring: Type.Object({ ...ProjectQuery, ...PageQuery, ...Model }, { additionalProperties: false }),
        response: { 200: ref('DriftWatchPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'DriftWatchPage'>> => {
      const { project: named, limit, cursor, model = null } = request.query;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const after = decodeCursor(cursor, versionPosition);
      const found = await listWatches(database, project, model, { limit: limit + 1, after, windows: SHOWN_WINDOWS });
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      return {
        items: shown.map(watchView),
        nextCursor: found.length > limit && last !== undefined ? encodeCursor([last.model, last.version]) : null,
      };
    },
  );
  app.get(
    '/v1/drift/signals',
    {
      schema: {
        tags,
        summary:
          'Retrain signals, newest first: those that were sent, and every one that was held back with its reason',
        querystring: Type.Object(
          { ...ProjectQuery, ...PageQuery, ...Model, outcome: Type.Optional(SignalOutcomeName) },
          { additionalProperties: false },
        ),
        response: { 200: ref('DriftSignalPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'DriftSignalPage'>> => {
      const { project: named, limit, cursor, model = null, outcome = null } = request.query;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const before = decodeCursor(cursor, seqPosition);
      const found = await listSignals(database, project, { model, outcome }, { limit: limit + 1, before });
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      return {
        items: shown.map(signalView),
        nextCursor: found.length > limit && last !== undefined ? encodeCursor(last.seq) : null,
      };
    },
  );
}

function referenceRoutes(app: App, { database, gateway }: HttpServices): void {
  const path = '/v1/models/:name/versions/:version/reference';
  app.get(
    path,
    {
      schema: {
        tags,
        summary: 'What production of a model version is compared with',
        params: VersionPath,
        querystring: InProject,
        response: { 200: ref('ModelReference'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'ModelReference'>> => {
      const project = projectOf(request, 'viewer', request.query.project, '/query/project');
      const { name: model, version } = request.params;
      const found = await readReference(database, project, model, Number(version));
      if (found === null) throw new TrainyardError('NotFound', `no reference is stored for ${model}/${version}`);
      const { profile, performance, updated_at_ms: at } = found;
      return { model, modelVersion: Number(version), profile, performance, updatedAt: new Date(at).toISOString() };
    },
  );
  app.put(
    path,
    {
      bodyLimit: REFERENCE_LIMIT_BYTES,
      schema: {
        tags,
        summary: 'Store the reference of a model version: a profile, or rows to build one of',
        description:
          'From then on its production is compared with it. Another reference begins new windows; the same one again changes nothing.',
        params: VersionPath,
        querystring: InProject,
        body: ReferenceBody,
        response: { 200: ref('StoredReference'), 201: ref('StoredReference'), ...problems(400, 404, 413, 415) },
      },
    },
    async (request, reply): Promise<Body<'StoredReference'>> => {
      const project = projectOf(request, 'submitter', request.query.project, '/query/project');
      const { name: model } = request.params;
      const version = Number(request.params.version);
      const reference = referenceOf(request.body);
      if (!reference.ok)
        throw new TrainyardError('ValidationFailed', 'the reference cannot be used', { fields: reference.fields });
      if ((await gateway.registry.getVersion(project, model, version)) === null)
        throw new TrainyardError('NotFound', `there is no version ${version} of model ${model}`);
      const created = await writeReference(database, { project, model, version }, reference, gateway.now());
      request.log.info({ project, model, version, by: principalOf(request).keyId, created }, 'reference stored');
      const { profile, performance } = reference;
      reply.code(created ? 201 : 200);
      return {
        model,
        modelVersion: version,
        rows: profile.rows,
        features: profile.features.length,
        ignored: profile.ignored,
        performance: shownPerformance(performance),
      };
    },
  );
}

const shownPerformance = (performance: ReferencePerformance | null): { scores: number; mean: number } | null =>
  performance === null ? null : { scores: performance.count, mean: performance.sum / performance.count };

const seqPosition = (value: unknown): number | null => (Number.isSafeInteger(value) ? (value as number) : null);

const versionPosition = (value: unknown): readonly [string, number] | null => {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [model, version] = value as unknown[];
  const isVersion = Number.isInteger(version) && Math.abs(version as number) < 2 ** 31;
  return typeof model === 'string' && isVersion ? [model, version as number] : null;
};
