import { stat } from 'node:fs/promises';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminKeyFile } from '../../../services/gateway/adapters/admin-key-file.ts';
import { ensureAdminKey, hashOf } from '../../../services/gateway/app/api-keys.ts';
import { createTestDatabase } from '../../support/database.ts';
import { PostgresKeyStore } from '../../../services/gateway/adapters/postgres/key-store.ts';
import { type Call, fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
let two: ProjectKeys;
let jobOfOne: string;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  two = await gateway.project('two');
  jobOfOne = String((await gateway.call('/v1/jobs', { key: one.submitter, body: fineTune() })).body['id']);
});
afterAll(() => gateway.close());

const UPLOAD: Call = { raw: 'some text', headers: { 'content-type': 'text/plain' } };

describe('without a key', () => {
  it.each([
    ['/v1/jobs', {}],
    ['/v1/jobs', { body: fineTune() }],
    ['/v1/projects/one', {}],
    ['/v1/datasets/corpus/versions', UPLOAD],
    ['/v1/lanes', {}],
  ] as [string, Call][])('%s is 401', async (path, call) => {
    const answer = await gateway.call(path, { ...call, key: null });
    expect(problemOf(answer)).toMatchObject({ status: 401, code: 'Unauthenticated' });
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer/);
  });

  it.each(['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs', '/errors/NotFound'])(
    '%s is open',
    async (path) => {
      expect((await gateway.call(path, { key: null })).status).toBe(200);
    },
  );

  it.each(['ty_', 'ty_' + 'A'.repeat(43), 'x', 'ty_' + 'A'.repeat(10_000)])(
    'a key that is none (%#) is 401',
    async (key) => {
      expect((await gateway.call('/v1/jobs', { key })).status).toBe(401);
    },
  );
});

describe('roles', () => {
  type Route = [what: string, path: () => string, call: Call, least: 'viewer' | 'submitter' | 'admin'];
  const routes: Route[] = [
    ['read jobs', () => '/v1/jobs', {}, 'viewer'],
    ['read a job', () => `/v1/jobs/${jobOfOne}`, {}, 'viewer'],
    ['read datasets', () => '/v1/datasets', {}, 'viewer'],
    ['read models', () => '/v1/models', {}, 'viewer'],
    ['read the project', () => '/v1/projects/one', {}, 'viewer'],
    ['submit', () => '/v1/jobs?dryRun=true', { body: fineTune() }, 'submitter'],
    ['change a job', () => `/v1/jobs/${jobOfOne}`, { method: 'PATCH', body: { description: 'x' } }, 'submitter'],
    ['upload', () => '/v1/datasets/corpus/versions', UPLOAD, 'submitter'],
    ['read keys', () => '/v1/projects/one/keys', {}, 'admin'],
    ['make a key', () => '/v1/projects/one/keys', { body: { role: 'viewer' } }, 'admin'],
  ];
  const ranks = ['viewer', 'submitter', 'approver', 'admin'] as const;
  it.each(routes)('%s', async (_what, path, call, least) => {
    for (const role of ranks) {
      const answer = await gateway.call(path(), { ...call, key: one[role] });
      const allowed = ranks.indexOf(role) >= ranks.indexOf(least);
      const code = allowed ? undefined : 'Forbidden';
      expect([role, answer.status < 300, answer.body['code']]).toEqual([role, allowed, code]);
    }
  });

  it('a viewer learns nothing about what is wrong with a body it may not send', async () => {
    expect((await gateway.call('/v1/jobs', { key: one.viewer, body: { nonsense: 1 } })).status).toBe(403);
  });

  it('only a platform admin creates and changes projects', async () => {
    const put = (id: string, key: string) => gateway.call(`/v1/projects/${id}`, { method: 'PUT', key, body: {} });
    expect((await put('one', one.admin)).status).toBe(403);
    expect((await put('two', one.admin)).status).toBe(404);
    expect((await put('three', one.admin)).status).toBe(404);
    expect((await put('three', gateway.adminKey)).status).toBe(201);
    expect((await put('three', gateway.adminKey)).status).toBe(200);
  });
});

describe('another project', () => {
  it.each([
    ['its job', () => `/v1/jobs/${jobOfOne}`, {}],
    ['the events of its job', () => `/v1/jobs/${jobOfOne}/events`, {}],
    ['cancelling its job', () => `/v1/jobs/${jobOfOne}/cancel`, { method: 'POST' }],
    ['changing its job', () => `/v1/jobs/${jobOfOne}`, { method: 'PATCH', body: { description: 'mine' } }],
    ['deleting its job', () => `/v1/jobs/${jobOfOne}`, { method: 'DELETE' }],
    ['its jobs', () => '/v1/jobs?project=one', {}],
    ['its datasets', () => '/v1/datasets?project=one', {}],
    ['its models', () => '/v1/models?project=one', {}],
    ['itself', () => '/v1/projects/one', {}],
    ['its keys', () => '/v1/projects/one/keys', {}],
    ['a job in it', () => '/v1/jobs', { body: fineTune({ project: 'one' }) }],
    ['a dataset in it', () => '/v1/datasets/x/versions?project=one', UPLOAD],
  ] as [string, () => string, Call][])('%s is 404, as if it did not exist', async (_what, path, call) => {
    for (const key of [two.viewer, two.admin])
      expect(problemOf(await gateway.call(path(), { ...call, key }))).toMatchObject({ status: 404, code: 'NotFound' });
  });

  it('is not in the lists', async () => {
    expect((await gateway.call('/v1/jobs', { key: two.admin })).body['items']).toEqual([]);
    const projects = await gateway.call('/v1/projects', { key: two.admin });
    expect(projects.body['items']).toMatchObject([{ id: 'two' }]);
  });

  it('a platform admin acts in any project, and says which', async () => {
    const body = fineTune({ idempotencyKey: 'by-admin' });
    expect(problemOf(await gateway.call('/v1/jobs', { body }))).toMatchObject({ status: 422, pointers: ['/project'] });
    expect((await gateway.call('/v1/jobs?project=two', { body })).status).toBe(201);
    expect((await gateway.call('/v1/jobs', { body: { ...body, project: 'two' } })).status).toBe(200);
    expect((await gateway.call('/v1/jobs?project=one', { body: { ...body, project: 'two' } })).status).toBe(422);
    expect(problemOf(await gateway.call('/v1/jobs?project=none', { body }))).toMatchObject({ status: 404 });
    expect(problemOf(await gateway.call('/v1/models'))).toMatchObject({ status: 422, pointers: ['/query/project'] });
  });
});

describe('API keys', () => {
  it('are shown once and stored hashed', async () => {
    const made = await gateway.call('/v1/projects/one/keys', {
      key: one.admin,
      body: { role: 'submitter', name: 'n' },
    });
    const key = String(made.body['key']);
    expect(key).toMatch(/^ty_[\w-]{43}$/);
    const listed = await gateway.call('/v1/projects/one/keys', { key: one.admin });
    expect(listed.text).toContain(String(made.body['id']));
    expect(listed.text).not.toContain(key);
    const { rows } = await gateway.database.query<{ hash: Buffer; row: string }>(
      'select key_hash as hash, k::text as row from api_keys k where id = $1',
      [made.body['id']],
    );
    expect(rows[0]?.hash.equals(hashOf(key))).toBe(true);
    expect(rows[0]?.row).not.toContain(key);
  });

  it('an identifier longer than any is not found, with a key and without', async () => {
    for (const length of [101, 1_000, 4_000])
      for (const path of [
        `/v1/jobs/${'a'.repeat(length)}`,
        `/v1/models/${'a'.repeat(length)}/versions`,
        `/errors/${'a'.repeat(length)}`,
      ])
        for (const key of [one.viewer, ''])
          expect([401, 404, 422]).toContain((await gateway.call(path, { key })).status);
  });

  it('a revoked key is refused once it is out of the cache, and another project cannot revoke it', async () => {
    const made = await gateway.call('/v1/projects/one/keys', { body: { role: 'viewer' } });
    const path = `/v1/projects/one/keys/${String(made.body['id'])}`;
    expect((await gateway.call(path, { method: 'DELETE', key: two.admin })).status).toBe(404);
    expect((await gateway.call(path, { method: 'DELETE', key: one.admin })).status).toBe(204);
    // Never used before, so in no cache.
    expect((await gateway.call('/v1/jobs', { key: String(made.body['key']) })).status).toBe(401);
  });

  it('an unknown role is refused with its pointer', async () => {
    const answer = await gateway.call('/v1/projects/one/keys', { key: one.admin, body: { role: 'root' } });
    expect(problemOf(answer)).toEqual({ status: 422, code: 'ValidationFailed', pointers: ['/role'] });
  });
});

describe('the rate limit', () => {
  it('is per key, and the refusal says when to come back', async () => {
    const limited = await startGateway({ requestsPerMinute: 3 });
    try {
      const call = () => limited.call('/v1/projects');
      const answers = [await call(), await call(), await call(), await call()];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
      expect(problemOf(await call())).toMatchObject({ code: 'RateLimited' });
      expect(Number(answers[3]?.headers['retry-after'])).toBeGreaterThan(0);
      // Another caller is not concerned; without a key the address is counted, and probes never are.
      expect((await limited.call('/v1/projects', { key: null })).status).toBe(401);
      for (let i = 0; i < 5; i++) expect((await limited.call('/healthz', { key: null })).status).toBe(200);
      for (let i = 0; i < 3; i++) await limited.call('/v1/projects', { key: null });
      expect((await limited.call('/v1/projects', { key: null })).status).toBe(429);
    } finally {
      await limited.close();
    }
  });
});

describe("the platform admin's key", () => {
  it('is made once by gateways that start together, in a file only its owner reads; a key in the file is adopted', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-key-'));
    const db = await createTestDatabase();
    const other = await createTestDatabase();
    try {
      const store = new PostgresKeyStore(db.database);
      const file = join(folder, 'home', 'admin.key');
      const stored = await Promise.all(
        Array.from({ length: 5 }, () => ensureAdminKey(store, adminKeyFile(file), Date.now())),
      );
      expect(stored.filter(Boolean)).toHaveLength(1);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      const key = (await readFile(file, 'utf8')).trim();
      expect(await store.findByHash(hashOf(key))).toMatchObject({ project: null, role: 'admin' });
      // The same home with a new database: the key that people have goes on working.
      const second = new PostgresKeyStore(other.database);
      await ensureAdminKey(second, adminKeyFile(file), Date.now());
      expect(await second.findByHash(hashOf(key))).toMatchObject({ role: 'admin' });
      // Rubbish in the file is replaced only while there is no admin.
      await writeFile(file, 'rubbish');
      expect(await ensureAdminKey(second, adminKeyFile(file), Date.now())).toBe(false);
      expect(await readFile(file, 'utf8')).toBe('rubbish');
    } finally {
      await db.drop();
      await other.drop();
      await rm(folder, { recursive: true });
    }
  });
});
