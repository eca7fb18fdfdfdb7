/* oxlint-disable oxc/no-async-endpoint-handlers -- Fastify awaits its handlers; the rule is about Express. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { Type } from '#typebox';
import { DatasetFormat, Name } from '#lib/contracts/jobs.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { uploadDataset } from '../../../app/upload-dataset.ts';
import { listDatasets, listDatasetVersions } from '../../postgres/dataset-store.ts';
import { projectOf } from '../access.ts';
import type { App, HttpServices } from '../app-types.ts';
import { decodeCursor, encodeCursor, integerPosition, textPosition } from '../cursor.ts';
import { type Body, PageQuery, ProjectQuery, problems, ref } from '../schemas.ts';
import { passThrough } from '../validation.ts';
import { datasetView } from '../views.ts';

const DatasetName = Type.Object({ name: Name });
const Query = Type.Object({ ...ProjectQuery, ...PageQuery }, { additionalProperties: false });
const tags = ['datasets'];

const TEXT = 'text/plain';
const JSON_LINES = ['application/jsonl', 'application/x-ndjson'] as const;
const stream = { schema: { type: 'string', format: 'binary' } };

export function datasetRoutes(app: App, services: HttpServices): void {
  const { database } = services;
  // A scope of its own: bodies of these content types are streams here and 415 everywhere else.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser([TEXT, ...JSON_LINES], (_request, payload, done) => done(null, payload));
    uploadRoute(scope, services);
  });
  app.get(
    '/v1/datasets',
    {
      schema: {
        tags,
        summary: 'Datasets by name, each with its newest version',
        querystring: Query,
        response: { 200: ref('DatasetVersionPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'DatasetVersionPage'>> => {
      const { project: named, limit, cursor } = request.query;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const after = decodeCursor(cursor, textPosition);
      const { items, next } = await listDatasets(database, project, { limit, after });
      return { items: items.map(datasetView), nextCursor: next === null ? null : encodeCursor(next) };
    },
  );
  app.get(
    '/v1/datasets/:name/versions',
    {
      schema: {
        tags,
        summary: 'Versions of a dataset, newest first',
        params: DatasetName,
        querystring: Query,
        response: { 200: ref('DatasetVersionPage'), ...problems(404) },
      },
    },
    async (request): Promise<Body<'DatasetVersionPage'>> => {
      const { project: named, limit, cursor } = request.query;
      const { name } = request.params;
      const project = projectOf(request, 'viewer', named, '/query/project');
      const before = decodeCursor(cursor, integerPosition);
      const { items, next } = await listDatasetVersions(database, project, name, { limit, before });
      if (items.length === 0 && before === null)
        throw new TrainyardError('NotFound', `there is no dataset ${name} in the project`);
      return { items: items.map(datasetView), nextCursor: next === null ? null : encodeCursor(next) };
    },
  );
}

function uploadRoute(app: App, { gateway, limits }: HttpServices): void {
  app.post(
    '/v1/datasets/:name/versions',
    {
      validatorCompiler: passThrough,
      bodyLimit: limits.datasetMaxBytes,
      handlerTimeout: limits.uploadTimeoutMs,
      schema: {
        tags,
        summary: 'Upload a dataset version',
        description: `Streamed, at most ${limits.datasetMaxBytes} bytes. The same bytes in the same format are the same version (200). A digest header makes the gateway refuse what arrived damaged.`,
        params: DatasetName,
        querystring: Type.Object(
          { format: Type.Optional(DatasetFormat), ...ProjectQuery },
          { additionalProperties: false },
        ),
        headers: Type.Object({
          'x-dataset-format': Type.Optional(DatasetFormat),
          'x-content-sha256': Type.Optional(
            Type.String({ pattern: '^[0-9a-fA-F]{64}$', description: 'SHA-256 of the body, hex' }),
          ),
          digest: Type.Optional(Type.String({ description: '`sha-256=<base64>` (RFC 3230)' })),
          'content-digest': Type.Optional(Type.String({ description: '`sha-256=:<base64>:` (RFC 9530)' })),
        }),
        body: { content: { [TEXT]: stream, [JSON_LINES[0]]: stream, [JSON_LINES[1]]: stream } },
        response: { 200: ref('DatasetVersion'), 201: ref('DatasetVersion'), ...problems(404, 413, 415) },
      },
    },
    async (request, reply): Promise<Body<'DatasetVersion'>> => {
      // Whatever happens before the whole body was read, the connection cannot be used for another request.
      if (request.body === null) throw new TrainyardError('UnsupportedMediaType', 'the upload has no body');
      const { name } = request.params;
      const project = projectOf(request, 'submitter', request.query.project, '/query/project');
      const format = request.query.format ?? request.headers['x-dataset-format'] ?? defaultFormat(request.headers);
      const claimed = claimedDigest(request.headers);
      refuseTooLong(request.headers, limits.datasetMaxBytes);
      const body = request.body as Readable;
      const { row, created } = await uploadDataset(gateway, {
        project,
        name,
        format,
        body,
        maxBytes: limits.datasetMaxBytes,
        claimed,
      });
      reply.code(created ? 201 : 200);
      return datasetView(row);
    },
  );
  app.addHook('onError', async (_request, reply) => {
    reply.header('connection', 'close');
  });
}

function refuseTooLong(headers: IncomingHttpHeaders, maxBytes: number): void {
  if (Number(headers['content-length'] ?? 0) > maxBytes)
    throw new TrainyardError('BodyTooLarge', `a dataset version has at most ${maxBytes} bytes`, {
      details: { maxBytes },
    });
}

function defaultFormat(headers: IncomingHttpHeaders): DatasetFormat {
  if (headers['content-type']?.startsWith(TEXT) === true) return 'text';
  throw new TrainyardError('ValidationFailed', 'JSON Lines come in several formats', {
    fields: [
      { pointer: '/query/format', message: 'is required: jsonl_text, jsonl_prompt_completion or jsonl_preferences' },
    ],
  });
}

/** What the client says the SHA-256 is, as hex; null when it says nothing. */
function claimedDigest(headers: IncomingHttpHeaders): { sha256: string; header: string } | null {
  const hex = headers['x-content-sha256'];
  if (typeof hex === 'string') return { sha256: hex.toLowerCase(), header: 'x-content-sha256' };
  for (const header of ['content-digest', 'digest'] as const) {
    const value = headers[header];
    if (typeof value !== 'string') continue;
    const base64 = /(?:^|,)\s*sha-256=:?([A-Za-z0-9+/]{43}=):?\s*(?:,|$)/i.exec(value)?.[1];
    if (base64 !== undefined) return { sha256: Buffer.from(base64, 'base64').toString('hex'), header };
    throw new TrainyardError('ValidationFailed', 'the digest cannot be read', {
      fields: [{ pointer: `/headers/${header}`, message: 'must hold a sha-256 digest in base64' }],
    });
  }
  return null;
}
