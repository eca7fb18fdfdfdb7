import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { type MlflowServer, missingMlflow, startMlflow } from '../../test/support/mlflow-server.ts';
import { modelRegistryContract } from './model-registry.contract.ts';
import { openModelRegistry } from './open.ts';

const missing = missingMlflow();
if (missing !== null) console.log(`not run: mlflow: ${missing}`);

describe.skipIf(missing !== null)('MLflow 3', () => {
  let server: MlflowServer;
  beforeAll(async () => {
    server = await startMlflow();
  });
  afterAll(() => server.stop());

  /** An empty registry on the one server. */
  const url = (): string => `mlflow+${server.url}?namespace=t${randomBytes(6).toString('hex')}`;

  modelRegistryContract('mlflow', async () => {
    const db = await createTestDatabase();
    // A second pool stands for another process.
    const other = new Database({ url: db.url, applicationName: 'test-other' });
    const address = url();
    let opened = 0;
    return {
      open: () => openModelRegistry(address, { database: opened++ % 2 === 0 ? db.database : other }),
      close: async () => {
        await other.close();
        await db.drop();
      },
    };
  });
});
