import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { killAfterEveryEventOfFlows } from '../../support/flows/flow-crash-points.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

it('eval_only, retrain, rlhf and hpo end the same when the orchestrator is killed after any of their events', async () => {
  await expect(killAfterEveryEventOfFlows(db.url, db.database)).resolves.toBeUndefined();
}, 300_000);
