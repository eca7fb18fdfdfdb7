import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { type ServiceProcess, startService } from '../../support/service-process.ts';

const SERVICES = ['gateway', 'orchestrator', 'cpu-worker', 'gpu-worker', 'drift-monitor'];
const STORING = ['gateway', 'cpu-worker', 'gpu-worker'];
const EX_CONFIG = 78;

let db: TestDatabase;
let folder: string;
const running: ServiceProcess[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'trainyard-start-'));
});
afterEach(async () => {
  for (const service of running.splice(0)) await service.kill();
});
afterAll(async () => {
  await db.drop();
  await rm(folder, { recursive: true, force: true });
});

/** A service with a right configuration but for `wrong`. */
function start(name: string, wrong: Readonly<Record<string, string>>): ServiceProcess {
  const service = startService(name, {
    DATABASE_URL: db.url,
    OBJECT_STORE_URL: `file://${join(folder, 'objects')}`,
    WORKSPACE_DIR: join(folder, 'workspace'),
    TRAINYARD_HOME: join(folder, 'home'),
    ...wrong,
  });
  running.push(service);
  return service;
}

const SECRET = 'hunter2';
const KAFKA = { BUS_URL: 'kafka://127.0.0.1:1', SCHEMA_REGISTRY_URL: 'http://127.0.0.1:1' };

describe('a variable that cannot be meant', () => {
  it.each<[service: string, variable: string, wrong: Readonly<Record<string, string>>]>([
    ...SERVICES.map((name): [string, string, Record<string, string>] => [
      name,
      'DATABASE_URL',
      { DATABASE_URL: `mysql://u:${SECRET}@host/db` },
    ]),
    ['orchestrator', 'DATABASE_URL', { DATABASE_URL: `postgresql://u:${SECRET}@host:port/db` }],
    ['orchestrator', 'DATABASE_URL', { DATABASE_URL: '' }],
    ['orchestrator', 'BUS_URL', { BUS_URL: `amqp://u:${SECRET}@host` }],
    ['drift-monitor', 'BUS_URL', { ...KAFKA, BUS_URL: `kafka://u:${SECRET}@host:9092` }],
    ['gateway', 'SCHEMA_REGISTRY_URL', { BUS_URL: KAFKA.BUS_URL }],
    ['orchestrator', 'SCHEMA_REGISTRY_URL', { ...KAFKA, SCHEMA_REGISTRY_URL: 'host:8081' }],
    ['orchestrator', 'KAFKA_SASL_PASSWORD', { ...KAFKA, KAFKA_SASL_MECHANISM: 'plain', KAFKA_SASL_USERNAME: 'u' }],
    ...STORING.map((name): [string, string, Record<string, string>] => [
      name,
      'OBJECT_STORE_URL',
      { OBJECT_STORE_URL: `s3://u:${SECRET}@bucket` },
    ]),
    ['cpu-worker', 'OBJECT_STORE_URL', { OBJECT_STORE_URL: 'gs://bucket' }],
    ['cpu-worker', 'MODEL_REGISTRY_URL', { MODEL_REGISTRY_URL: `wandb://${SECRET}` }],
    ['gateway', 'MODEL_REGISTRY_URL', { MODEL_REGISTRY_URL: `mlflow+http://u:${SECRET}@host/?namespace=a%20b` }],
  ])('ends %s with exit code 78, names %s and shows no secret: %j', async (name, variable, wrong) => {
    const service = start(name, wrong);
    expect(await service.ended).toBe(EX_CONFIG);
    expect(service.output).toMatch(new RegExp(`configuration is wrong\\n\\s+${variable}\\b`));
    expect(service.output).not.toContain(SECRET);
  });
});

describe('a component that is away', () => {
  it.each<[service: string, component: string, variable: string, wrong: Readonly<Record<string, string>>]>([
    ...SERVICES.map((name): [string, string, string, Record<string, string>] => [
      name,
      'database',
      'DATABASE_URL',
      { DATABASE_URL: 'postgresql://127.0.0.1:1/none' },
    ]),
    ['orchestrator', 'schema registry', 'SCHEMA_REGISTRY_URL', KAFKA],
    ['gateway', 'schema registry', 'SCHEMA_REGISTRY_URL', KAFKA],
    [
      'cpu-worker',
      'object store',
      'OBJECT_STORE_URL',
      {
        OBJECT_STORE_URL: 's3://bucket?endpoint=http://127.0.0.1:1&pathStyle=true',
        AWS_ACCESS_KEY_ID: 'k',
        AWS_SECRET_ACCESS_KEY: 's',
      },
    ],
    ['cpu-worker', 'model registry', 'MODEL_REGISTRY_URL', { MODEL_REGISTRY_URL: 'mlflow+http://127.0.0.1:1' }],
    ['gateway', 'modelRegistry', 'MODEL_REGISTRY_URL', { MODEL_REGISTRY_URL: 'mlflow+http://127.0.0.1:1' }],
  ])(
    'leaves %s alive; readyz names the %s and %s, and the log says that it is tried again',
    async (name, component, variable, wrong) => {
      const service = start(name, wrong);
      await eventually(
        async () => {
          const { status, components } = await service.readyz();
          expect(status).toBe(503);
          expect(components.find((each) => each.name === component)).toMatchObject({
            ready: false,
            reason: expect.stringMatching(new RegExp(variable)),
          });
        },
        { withinMs: 20_000, everyMs: 100 },
      );
      // Two tries at least, with words, and a longer wait each time.
      const waits = await eventually(
        () => {
          const found = [...service.output.matchAll(/"waitMs":(\d+)/g)].map(([, ms]) => Number(ms));
          return found.length >= 2 && found;
        },
        { withinMs: 30_000, everyMs: 100 },
      );
      expect(waits.slice(0, 2)).toEqual([250, 500]);
      expect(service.exitCode).toBeNull();
    },
  );
});
