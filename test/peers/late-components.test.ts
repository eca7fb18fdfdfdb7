import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { LateAddress } from '../support/late-address.ts';
import { addressOf, peer } from '../support/peers/peer.ts';
import { prepareKafkaPlace, serviceEnvironment } from '../support/place.ts';
import { type ServiceProcess, startService } from '../support/service-process.ts';

const kafka = await peer('kafka');
const registry = await peer('registry');
const s3 = await peer('s3');
const mlflow = await peer('mlflow');

const available = kafka.available && registry.available && s3.available && mlflow.available;

// The CPU worker needs all five.
describe.skipIf(!available)('a service that is started before what it needs', () => {
  let db: TestDatabase;
  let folder: string;
  let right: Record<string, string>;
  let service: ServiceProcess | null = null;
  let late: LateAddress | null = null;

  beforeAll(async () => {
    db = await createTestDatabase();
    folder = await mkdtemp(join(tmpdir(), 'trainyard-late-'));
    const place = {
      databaseUrl: db.url,
      busUrl: `kafka://${addressOf(kafka).brokers.join(',')}`,
      registryUrl: addressOf(registry).url,
      prefix: `late-${db.name}-`,
    };
    await prepareKafkaPlace(place);
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = addressOf(s3);
    right = {
      ...serviceEnvironment(place),
      // Over TCP: the socket of the server cannot come late.
      DATABASE_URL: db.url.replace(/\?.*/, ''),
      OBJECT_STORE_URL: `s3://${bucket}/late?endpoint=${endpoint}&region=${region}&pathStyle=true`,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      MODEL_REGISTRY_URL: `mlflow+${addressOf(mlflow).url}?namespace=late`,
      WORKSPACE_DIR: join(folder, 'workspace'),
    };
  });
  afterEach(async () => {
    await service?.kill();
    await late?.close();
  });
  afterAll(async () => {
    await db.drop();
    await rm(folder, { recursive: true, force: true });
  });

  it.each([
    ['DATABASE_URL', 'database'],
    ['SCHEMA_REGISTRY_URL', 'schema registry'],
    ['BUS_URL', 'bus'],
    ['OBJECT_STORE_URL', 'object store'],
    ['MODEL_REGISTRY_URL', 'model registry'],
  ])('waits for the component of %s and is ready when it appears', async (variable, component) => {
    late = await LateAddress.reserve();
    const url = right[variable] ?? '';
    // The address in the URL: of the server itself, or of its endpoint.
    const target = /127\.0\.0\.1:\d+|localhost:\d+|\[::1\]:\d+/.exec(url)?.[0] ?? '';
    expect(target).not.toBe('');
    service = startService('cpu-worker', { ...right, [variable]: url.replace(target, late.address) });
    const componentNow = async () => {
      const { status, components } = await (service as ServiceProcess).readyz();
      return { status, component: components.find(({ name }) => name === component) };
    };
    await eventually(
      async () =>
        expect(await componentNow()).toMatchObject({
          status: 503,
          component: { ready: false, reason: expect.stringMatching(new RegExp(variable)) },
        }),
      { withinMs: 30_000, everyMs: 100 },
    );
    await late.appear(target);
    await eventually(
      async () => expect(await componentNow()).toMatchObject({ status: 200, component: { ready: true } }),
      {
        withinMs: 40_000,
        everyMs: 100,
      },
    );
    expect(service.exitCode).toBeNull();
    expect(await service.metrics()).toMatch(/^trainyard_outbox_rows\{service="cpu-worker"\} \d+$/m);
  });
});
