import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { PostgresBus } from './postgres-bus.ts';

const LONG_SESSION_MS = 60_000;

let db: TestDatabase;
let bus: PostgresBus;
beforeAll(async () => {
  db = await createTestDatabase();
  bus = new PostgresBus({ database: db.database });
  await bus.ensureTopics([{ topic: 'named', partitions: 4, retentionMs: 60_000 }]);
});
afterAll(async () => {
  await bus.close();
  await db.drop();
});

const member = (instanceId: string) =>
  bus.subscribe({
    groupId: 'named-group',
    topics: ['named'],
    from: 'beginning',
    sessionTimeoutMs: LONG_SESSION_MS,
    instanceId,
  });

describe('a named member', () => {
  it('takes its former partitions back at once, long before the session of its dead predecessor runs out', async () => {
    const dead = await member('a');
    await dead.poll({ maxMessages: 1, maxWaitMs: 0 });
    expect(dead.assignment()).toHaveLength(4);
    const again = await member('a');
    await eventually(async () => {
      await again.poll({ maxMessages: 1, maxWaitMs: 0 });
      expect(again.assignment()).toHaveLength(4);
    });
    // The predecessor was only paused: it joins again as another member and does not push its successor out.
    await eventually(async () => {
      await dead.poll({ maxMessages: 1, maxWaitMs: 0 });
      await again.poll({ maxMessages: 1, maxWaitMs: 0 });
      expect([dead.assignment().length, again.assignment().length]).toEqual([2, 2]);
    });
    await Promise.all([dead.close(), again.close()]);
  });
});
