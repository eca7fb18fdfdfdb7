import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { App } from './app-types.ts';
import { COMPONENTS } from './schemas.ts';

/** OpenAPI 3.1 at `/openapi.json`, made from the schemas that check the requests, and a page to read it at `/docs`. */
export async function describeApi(app: App, version: string): Promise<void> {
  for (const [name, schema] of Object.entries(COMPONENTS))
    app.addSchema({ $id: name, ...(optionalWhereDefaulted(schema) as object) });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Trainyard',
        version,
        description: 'Model-training jobs on CPU and GPU lanes. Errors are problem documents (RFC 9457).',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      tags: [
        { name: 'jobs', description: 'Submit, watch, pause, retry and stop jobs' },
        { name: 'approvals', description: 'Questions that jobs ask people before a version goes on' },
        { name: 'datasets', description: 'Named, versioned and digested training data' },
        { name: 'models', description: 'Registered model versions' },
        { name: 'drift', description: 'Production beside training, and when models are trained again' },
        { name: 'lanes', description: 'Slots, queues and workers' },
        { name: 'projects', description: 'Tenants, their budgets and keys' },
        { name: 'operations', description: 'Probes and metrics' },
      ],
      components: {
        securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', description: 'An API key: `ty_...`' } },
      },
      security: [{ apiKey: [] }],
    },
    transform: ({ schema, url }) => {
      const { body, querystring } = schema ?? {};
      const shown = { body: optionalWhereDefaulted(body), querystring: optionalWhereDefaulted(querystring) };
      return { schema: { ...schema, ...withoutUndefined(shown) }, url };
    },
    refResolver: {
      buildLocalReference: ({ $id }, _base, _fragment, index) => (typeof $id === 'string' ? $id : `schema-${index}`),
    },
  });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, logLevel: 'warn' });
}

/**
 * The schema as a client sees it: a member with a default may be left out. Our validator fills it in first and then requires it, so that
 * the types of handlers have it; nothing that is only answered has defaults.
 */
function optionalWhereDefaulted(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((item: unknown) => optionalWhereDefaulted(item));
  if (schema === null || typeof schema !== 'object') return schema;
  const shown: Record<string, unknown> = Object.fromEntries(
    Object.entries(schema).map(([name, member]) => [
      name,
      name === 'examples' ? member : optionalWhereDefaulted(member),
    ]),
  );
  const { properties, required } = schema as { properties?: Record<string, object>; required?: unknown };
  if (properties === undefined || !Array.isArray(required)) return shown;
  const needed = (required as string[]).filter((name) => !Object.hasOwn(properties[name] ?? {}, 'default'));
  if (needed.length === 0) delete shown['required'];
  else shown['required'] = needed;
  return shown;
}

const withoutUndefined = (members: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
