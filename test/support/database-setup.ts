import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { Database } from '#lib/postgres/database.ts';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { migrate } from '#lib/postgres/migrate.ts';

export interface TestServer {
  /** Where `createTestDatabase` makes its databases. */
  readonly url: string;
  /** A migrated database that nobody is connected to. */
  readonly template: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    testServer: TestServer;
  }
}

/**
 * One PostgreSQL for all test files of a run, with one migrated template database; `TRAINYARD_TEST_DATABASE_URL` names another server
 * (its user must be allowed to create databases). Durability is off: what tests of crashes need, they start themselves.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['TRAINYARD_TEST_DATABASE_URL'];
  const server = given === undefined ? await startTestServer() : { url: given, stop: async () => undefined };
  try {
    const template = `trainyard_template_${process.pid}_${Date.now()}`;
    await makeTemplate(server.url, template);
    project.provide('testServer', { url: server.url, template });
    return async () => {
      if (given !== undefined)
        await withAdmin(given, (admin) => admin.query(`drop database if exists ${template} with (force)`));
      await server.stop();
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function startTestServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-test-'));
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'postgres.log'),
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
  });
  return {
    url: server.url,
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function makeTemplate(serverUrl: string, template: string): Promise<void> {
  await withAdmin(serverUrl, (admin) => admin.query(`create database ${template}`));
  const url = new URL(serverUrl);
  url.pathname = `/${template}`;
  await withAdmin(url.href, (database) => migrate(database));
}

async function withAdmin<T>(url: string, work: (admin: Database) => Promise<T>): Promise<T> {
  const admin = new Database({ url, applicationName: 'test-setup', maxConnections: 1 });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}
