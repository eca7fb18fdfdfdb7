import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { LightMyRequestResponse } from 'fastify';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { openModelRegistry } from '#lib/model-registry/open.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { Database } from '#lib/postgres/database.ts';
import { createLogger } from '#lib/service/logger.ts';
import { createMetrics } from '#lib/service/metrics.ts';
import { Readiness } from '#lib/service/readiness.ts';
import type { InferenceAddress } from '../../../services/gateway/adapters/assemble-completions.ts';
import { assembleGateway } from '../../../services/gateway/adapters/assemble.ts';
import type { App, HttpLimits, HttpServices } from '../../../services/gateway/adapters/http/app-types.ts';
import { buildServer } from '../../../services/gateway/adapters/http/server.ts';
import { ensureAdminKey } from '../../../services/gateway/app/api-keys.ts';
import { createTestDatabase } from '../../support/database.ts';

export interface Answer {
  readonly status: number;
  // The tests say what they expect to find.
  readonly body: Record<string, unknown> & { readonly errors?: { pointer: string; message: string }[] };
  readonly headers: LightMyRequestResponse['headers'];
  readonly text: string;
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly key?: string | null;
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Buffer | NodeJS.ReadableStream;
  readonly headers?: Record<string, string>;
}

export interface Harness {
  readonly app: App;
  readonly services: HttpServices;
  readonly database: Database;
  readonly objects: ObjectStore;
  readonly registry: ModelRegistry;
  readonly bus: PostgresBus;
  readonly adminKey: string;
  /** A request through the whole server; with the platform admin's key unless told. Fails when a stack trace comes out. */
  call(path: string, call?: Call): Promise<Answer>;
  /** A project with a key of each role and a dataset `corpus`. */
  project(id: string, change?: Record<string, unknown>): Promise<ProjectKeys>;
  close(): Promise<void>;
}

export interface ProjectKeys {
  readonly id: string;
  readonly viewer: string;
  readonly submitter: string;
  readonly approver: string;
  readonly admin: string;
}

const LIMITS: HttpLimits = {
  requestsPerMinute: 0,
  requestTimeoutMs: 30_000,
  uploadTimeoutMs: 60_000,
  datasetMaxBytes: 64 * 1024 * 1024,
  heartbeatMs: 100,
};

/** The gateway over a database, bus, object store and registry of its own: everything real but the port. */
export async function startGateway(
  limits: Partial<HttpLimits> = {},
  inference: InferenceAddress = {},
): Promise<Harness> {
  const db = await createTestDatabase({ maxConnections: 8 });
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-gateway-'));
  const { database } = db;
  const bus = new PostgresBus({ database, retentionIntervalMs: 0 });
  await bus.ensureTopics(topicSpecs());
  const objects = openObjectStore(pathToFileURL(folder).href);
  const registry = openModelRegistry('postgres:', { database });
  const readiness = new Readiness('gateway');
  readiness.add('database', () => database.check());
  readiness.serving();
  const services = assembleGateway({
    database,
    bus,
    codec: singleObjectCodec(),
    registry,
    objects,
    codeCommit: 'test-commit',
    slotSpeed: { gflops: 20 },
    limits: { ...LIMITS, ...limits },
    readiness,
    metrics: createMetrics('gateway'),
    logger: createLogger({ service: 'gateway', level: 'silent' }),
    inference,
  });
  let adminKey = '';
  await ensureAdminKey(
    services.keys,
    {
      read: async () => null,
      write: async (key) => {
        adminKey = key;
      },
    },
    Date.now(),
  );
  const app = await buildServer(services);
  const call = caller(app, adminKey);
  return {
    app,
    services,
    database,
    objects,
    registry,
    bus,
    adminKey,
    call,
    project: (id, change = {}) => makeProject(call, id, change),
    close: async () => {
      services.tail.close();
      await app.close();
      await services.completions.close();
      await bus.close();
      await db.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function caller(app: App, adminKey: string): Harness['call'] {
  return async (path, { method, key = adminKey, body, raw, headers = {} } = {}) => {
    const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await app.inject({
      method: method ?? (payload === undefined ? 'GET' : 'POST'),
      url: path,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(raw === undefined && body !== undefined ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(payload === undefined ? {} : { payload: payload as string }),
    });
    const text = response.payload;
    if (/\bat .+\.(ts|js|mjs):\d+/.test(text) || text.includes('node_modules'))
      throw new Error(`a stack trace came out: ${text}`);
    const json = response.headers['content-type']?.toString().includes('json') && text !== '';
    return { status: response.statusCode, body: json ? JSON.parse(text) : {}, headers: response.headers, text };
  };
}

async function makeProject(call: Harness['call'], id: string, change: Record<string, unknown>): Promise<ProjectKeys> {
  await call(`/v1/projects/${id}`, { method: 'PUT', body: change });
  const keys: Record<string, string> = {};
  for (const role of ['viewer', 'submitter', 'approver', 'admin'])
    keys[role] = String((await call(`/v1/projects/${id}/keys`, { body: { role } })).body['key']);
  const uploaded = await call(`/v1/datasets/corpus/versions?project=${id}`, {
    raw: `a text of ${id}`,
    headers: { 'content-type': 'text/plain' },
  });
  if (uploaded.status !== 201) throw new Error(`no dataset: ${uploaded.text}`);
  return { id, ...keys } as unknown as ProjectKeys;
}

/** A body that is accepted; `change` may set or (with undefined) remove members, `spec` is merged on its first level. */
export function fineTune(
  change: Record<string, unknown> = {},
  spec: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    type: 'fine_tune',
    idempotencyKey: 'a-key',
    ...change,
    spec: {
      dataset: { name: 'corpus' },
      base: { config: { layers: 2, heads: 2, embeddingSize: 32, contextLength: 64 } },
      method: 'full',
      model: { name: 'result' },
      hyperparameters: { maxSteps: 100, learningRate: 0.01 },
      evaluation: { suites: [{ suite: 'held_out_text' }] },
      ...spec,
    },
  };
}

/** `code` and the pointers of a problem, sorted. */
export const problemOf = ({ status, body }: Answer): { status: number; code: unknown; pointers: string[] } => ({
  status,
  code: body['code'],
  pointers: (body.errors ?? []).map((error) => error.pointer).sort(),
});
