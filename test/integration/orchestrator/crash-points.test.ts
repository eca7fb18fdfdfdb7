import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { killAfterEveryEvent } from '../../support/crash-points.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

describe('the orchestrator killed with SIGKILL after every event of the flow in turn', () => {
  it('ends in the same state, with each activity run once and one registered version per job', async () => {
    await expect(killAfterEveryEvent(db.url, db.database)).resolves.toBeUndefined();
  }, 120_000);
});
