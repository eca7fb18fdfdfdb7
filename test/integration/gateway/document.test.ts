import { Compile, Meta } from 'typebox/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_CATALOGUE } from '#lib/kernel/error-catalogue.ts';
import { type Answer, type Call, fineTune, type Harness, type ProjectKeys, startGateway } from './gateway-harness.ts';

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: string[];
  readonly parameters?: { name: string; in: string; required?: boolean; schema: unknown }[];
  readonly requestBody?: { content: Record<string, { schema: object }> };
  readonly responses: Record<string, { description: string; content?: Record<string, { schema?: object }> }>;
}
interface ApiDocument {
  readonly openapi: string;
  readonly info: { title: string; version: string };
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { schemas: Record<string, object>; securitySchemes: object };
}

let gateway: Harness;
let one: ProjectKeys;
let document: ApiDocument;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  document = (await gateway.call('/openapi.json', { key: null })).body as unknown as ApiDocument;
});
afterAll(() => gateway.close());

const operations = (): [where: string, path: string, operation: Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [
      `${method} ${path}`,
      path,
      operation,
    ]),
  );

describe('the API document', () => {
  it('is OpenAPI 3.1 in form: version, info, described responses, declared path parameters', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(document.info).toMatchObject({ title: 'Trainyard', version: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
    expect(operations().length).toBeGreaterThan(25);
    for (const [where, path, operation] of operations()) {
      expect([where, operation.summary !== undefined, (operation.tags ?? []).length]).toEqual([where, true, 1]);
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = (operation.parameters ?? []).filter((p) => p.in === 'path' && p.required === true);
      expect([where, declared.map((p) => p.name)]).toEqual([where, named]);
      expect(Object.keys(operation.responses).length).toBeGreaterThan(0);
      for (const [status, response] of Object.entries(operation.responses)) {
        expect([where, status]).toEqual([where, expect.stringMatching(/^[1-5]\d\d$/)]);
        expect(typeof response.description).toBe('string');
      }
    }
  });

  it('has only schemas that are JSON Schema 2020-12, references that resolve, and examples that match', () => {
    const meta = Compile(Meta['https://json-schema.org/draft/2020-12/schema']);
    const wellFormed = (schema: object): unknown[] => [meta.Check(schema), unresolved(schema)];
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      expect([name, ...wellFormed(schema)]).toEqual([name, true, []]);
      const validator = Compile(bundled({ $ref: `#/components/schemas/${name}` }));
      for (const example of (schema as { examples?: unknown[] }).examples ?? [])
        expect([name, validator.Check(example), validator.Errors(example)]).toEqual([name, true, [true, []]]);
    }
    for (const [where, , operation] of operations()) {
      const bodies = [operation.requestBody, ...Object.values(operation.responses)];
      const schemas = bodies
        .flatMap((body) => Object.values(body?.content ?? {}))
        .flatMap(({ schema }) => schema ?? []);
      for (const schema of schemas) expect([where, ...wellFormed(schema)]).toEqual([where, true, []]);
    }
  });

  it('requires of a request only what has no default', () => {
    const { required } = document.components.schemas['SubmitFineTune'] as { required: string[] };
    expect(required).toEqual(['type', 'spec']);
    const queries = operations()
      .flatMap(([, , operation]) => operation.parameters ?? [])
      .filter((p) => p.in === 'query');
    expect(queries.filter((p) => p.required === true)).toEqual([]);
  });

  it('has every route, and every route of /v1 its problems', () => {
    const seen: string[] = [];
    for (const [where, path, operation] of operations()) {
      seen.push(where);
      if (!path.startsWith('/v1/')) continue;
      for (const status of ['401', '403', '422', '429'])
        expect([where, Object.keys(operation.responses[status]?.content ?? {})]).toEqual([
          where,
          ['application/problem+json'],
        ]);
    }
    expect(seen).toEqual(expect.arrayContaining(EVERY_ROUTE));
    expect(seen.filter((where) => where.includes('/v1/')).length).toBe(
      EVERY_ROUTE.filter((where) => where.includes('/v1/')).length,
    );
  });
});

const EVERY_ROUTE = [
  'post /v1/jobs',
  'get /v1/jobs',
  'get /v1/jobs/{id}',
  'patch /v1/jobs/{id}',
  'delete /v1/jobs/{id}',
  'post /v1/jobs/{id}/cancel',
  'post /v1/jobs/{id}/pause',
  'post /v1/jobs/{id}/resume',
  'post /v1/jobs/{id}/retry',
  'get /v1/jobs/{id}/trials',
  'get /v1/approvals',
  'get /v1/approvals/{id}',
  'post /v1/approvals/{id}/approve',
  'post /v1/approvals/{id}/reject',
  'get /v1/jobs/{id}/events',
  'get /v1/jobs/{id}/activities',
  'get /v1/jobs/{id}/metrics',
  'get /v1/jobs/{id}/artifacts',
  'get /v1/jobs/{id}/lineage',
  'post /v1/datasets/{name}/versions',
  'get /v1/datasets/{name}/versions',
  'get /v1/datasets',
  'get /v1/models',
  'get /v1/models/{name}/versions',
  'post /v1/models/{name}/completions',
  'post /v1/completions',
  'get /v1/models/{name}/promotions',
  'get /v1/models/{name}/traffic',
  'post /v1/models/{name}/rollback',
  'post /v1/models/{name}/versions/{version}/promote',
  'get /v1/models/{name}/retrain-policy',
  'put /v1/models/{name}/retrain-policy',
  'delete /v1/models/{name}/retrain-policy',
  'post /v1/models/{name}/retrain',
  'get /v1/models/{name}/versions/{version}/reference',
  'put /v1/models/{name}/versions/{version}/reference',
  'get /v1/drift',
  'get /v1/drift/signals',
  'get /v1/lanes',
  'get /v1/workers',
  'get /v1/projects',
  'get /v1/projects/{id}',
  'put /v1/projects/{id}',
  'post /v1/projects/{id}/keys',
  'get /v1/projects/{id}/keys',
  'delete /v1/projects/{id}/keys/{keyId}',
  'get /healthz',
  'get /readyz',
  'get /metrics',
  'get /errors/{code}',
];

/** The schema with the document's components, its references leading there. */
const bundled = (schema: object): object =>
  JSON.parse(
    JSON.stringify({ ...schema, $defs: document.components.schemas }).replaceAll('"#/components/schemas/', '"#/$defs/'),
  ) as object;

const unresolved = (schema: object): string[] =>
  [...JSON.stringify(schema).matchAll(/"\$ref":"([^"]*)"/g)]
    .map(([, reference]) => String(reference))
    .filter((reference) => {
      const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1];
      return name === undefined || document.components.schemas[name] === undefined;
    });

describe('what the gateway answers', () => {
  const matches = (path: string, method: string, answer: Answer): string | null => {
    const response = document.paths[path]?.[method]?.responses[String(answer.status)];
    if (response === undefined) return `${method} ${path} does not document ${answer.status}`;
    const type = String(answer.headers['content-type']).split(';')[0] ?? '';
    const schema = response.content?.[type]?.schema;
    if (schema === undefined)
      return answer.text === '' ? null : `${method} ${path} ${answer.status} does not document ${type}`;
    const validator = Compile(bundled(schema));
    if (validator.Check(answer.body)) return null;
    return `${method} ${path} ${answer.status}: ${JSON.stringify(validator.Errors(answer.body))}`;
  };

  it('is what the document says, for good and bad requests', async () => {
    const job = await gateway.call('/v1/jobs', { key: one.submitter, body: fineTune() });
    const id = String(job.body['id']);
    const key = one.admin;
    const text = { raw: 'x', headers: { 'content-type': 'text/plain' } };
    const calls: [template: string, path: string, call: Call][] = [
      ['/v1/jobs', '/v1/jobs', { key, body: fineTune({ idempotencyKey: 'new' }) }],
      ['/v1/jobs', '/v1/jobs', { key, body: fineTune() }],
      ['/v1/jobs', '/v1/jobs?dryRun=true', { key, body: fineTune() }],
      ['/v1/jobs', '/v1/jobs', { key, body: fineTune({}, { seed: 9 }) }],
      ['/v1/jobs', '/v1/jobs', { key, body: {} }],
      ['/v1/jobs', '/v1/jobs', { key, body: { type: 'hpo', idempotencyKey: 'h', spec: {} } }],
      ['/v1/jobs', '/v1/jobs', { key, raw: '{', headers: { 'content-type': 'application/json' } }],
      ['/v1/jobs', '/v1/jobs', { key, ...text }],
      ['/v1/jobs', '/v1/jobs', { key: one.viewer, body: fineTune() }],
      ['/v1/jobs', '/v1/jobs', { key }],
      ['/v1/jobs', '/v1/jobs', { key: null }],
      ['/v1/jobs/{id}', `/v1/jobs/${id}`, { key }],
      ['/v1/jobs/{id}', '/v1/jobs/none', { key }],
      ['/v1/jobs/{id}', `/v1/jobs/${id}`, { key, method: 'DELETE' }],
      ['/v1/jobs/{id}', `/v1/jobs/${id}`, { key, method: 'PATCH', body: { description: 'd' } }],
      ['/v1/jobs/{id}/cancel', `/v1/jobs/${id}/cancel`, { key, method: 'POST' }],
      ['/v1/jobs/{id}/pause', `/v1/jobs/${id}/pause`, { key, body: { reason: 'lunch' } }],
      ['/v1/jobs/{id}/resume', `/v1/jobs/${id}/resume`, { key, method: 'POST' }],
      ['/v1/jobs/{id}/retry', '/v1/jobs/none/retry', { key, method: 'POST' }],
      ['/v1/jobs/{id}/trials', `/v1/jobs/${id}/trials`, { key }],
      ['/v1/approvals', '/v1/approvals?status=open', { key }],
      ['/v1/approvals/{id}', '/v1/approvals/none', { key }],
      ['/v1/approvals/{id}/approve', '/v1/approvals/none/approve', { key, body: { digest: 'd' } }],
      ['/v1/approvals/{id}/reject', '/v1/approvals/none/reject', { key, body: { digest: 'd'.repeat(64) } }],
      ['/v1/jobs/{id}/events', `/v1/jobs/${id}/events`, { key }],
      ['/v1/jobs/{id}/activities', `/v1/jobs/${id}/activities`, { key }],
      ['/v1/jobs/{id}/metrics', `/v1/jobs/${id}/metrics`, { key }],
      ['/v1/jobs/{id}/artifacts', `/v1/jobs/${id}/artifacts`, { key }],
      ['/v1/jobs/{id}/lineage', `/v1/jobs/${id}/lineage`, { key }],
      ['/v1/datasets', '/v1/datasets', { key }],
      ['/v1/datasets/{name}/versions', '/v1/datasets/corpus/versions', { key }],
      ['/v1/datasets/{name}/versions', '/v1/datasets/corpus/versions', { key, ...text }],
      ['/v1/models', '/v1/models', { key }],
      ['/v1/drift', '/v1/drift', { key }],
      ['/v1/drift/signals', '/v1/drift/signals', { key }],
      ['/v1/models/{name}/retrain-policy', '/v1/models/m/retrain-policy', { key }],
      ['/v1/models/{name}/retrain-policy', '/v1/models/m/retrain-policy', { key, method: 'PUT', body: { spec: {} } }],
      ['/v1/models/{name}/retrain-policy', '/v1/models/m/retrain-policy', { key, method: 'DELETE' }],
      ['/v1/models/{name}/retrain', '/v1/models/m/retrain', { key, body: {} }],
      ['/v1/models/{name}/versions/{version}/reference', '/v1/models/m/versions/1/reference', { key }],
      [
        '/v1/models/{name}/versions/{version}/reference',
        '/v1/models/m/versions/1/reference',
        { key, method: 'PUT', body: {} },
      ],
      ['/v1/lanes', '/v1/lanes', { key }],
      ['/v1/workers', '/v1/workers', { key }],
      ['/v1/projects', '/v1/projects', { key }],
      ['/v1/projects/{id}', '/v1/projects/one', { key }],
      ['/v1/projects/{id}', '/v1/projects/four', { method: 'PUT', body: {} }],
      ['/v1/projects/{id}/keys', '/v1/projects/one/keys', { key }],
      ['/v1/projects/{id}/keys', '/v1/projects/one/keys', { key, body: { role: 'viewer' } }],
      ['/healthz', '/healthz', {}],
      ['/readyz', '/readyz', {}],
      ['/errors/{code}', '/errors/Forbidden', {}],
      ['/errors/{code}', '/errors/None', {}],
    ];
    for (const [template, path, call] of calls) {
      const method = call.method ?? (call.body === undefined && call.raw === undefined ? 'GET' : 'POST');
      expect(matches(template, method.toLowerCase(), await gateway.call(path, call))).toBeNull();
    }
  });

  it('a failure inside is a problem without a word about the inside, and a request id', async () => {
    const broken = gateway.services.gateway as unknown as { registry: { listModels: () => never } };
    const { registry } = broken;
    broken.registry.listModels = () => {
      throw new TypeError("Cannot read properties of undefined (reading 'secret') at /srv/app/main.ts:1:1");
    };
    try {
      const answer = await gateway.call('/v1/models', { key: one.viewer });
      expect(answer.body).toEqual({
        type: '/errors/Internal',
        title: ERROR_CATALOGUE.Internal.cause,
        status: 500,
        detail: 'internal error',
        code: 'Internal',
        instance: '/v1/models',
        requestId: answer.headers['x-request-id'],
      });
    } finally {
      // The method lies on the prototype; what was set on the object hides it.
      Reflect.deleteProperty(registry, 'listModels');
    }
    expect((await gateway.call('/v1/models', { key: one.viewer })).status).toBe(200);
  });

  it('readiness names the component that is away, and metrics count requests and submissions', async () => {
    gateway.services.readiness.add('objectStore', () => {
      throw new Error('the folder is gone');
    });
    const ready = await gateway.call('/readyz', { key: null });
    expect([ready.status, ready.text]).toEqual([503, expect.stringContaining('the folder is gone')]);
    gateway.services.readiness.add('objectStore', () => undefined);
    const { text } = await gateway.call('/metrics', { key: null });
    expect(text).toMatch(/^trainyard_http_request_seconds_count\{.*method="POST",route="\/v1\/jobs",status="201"/m);
    expect(text).toMatch(/^trainyard_job_submits_total\{.*type="fine_tune",outcome="created"/m);
    expect(text).toMatch(/^trainyard_job_submits_total\{.*type="hpo",outcome="ValidationFailed"/m);
  });

  it('has no detail of the server and the usual protections', async () => {
    const { headers } = await gateway.call('/healthz', { key: null });
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.any(String),
    });
    expect(headers['x-powered-by']).toBeUndefined();
  });
});
