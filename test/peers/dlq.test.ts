import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadLetterStory } from '../support/dead-letter-story.ts';
import { dlq } from '../support/dlq-command.ts';
import { addressOf, peer } from '../support/peers/peer.ts';
import { type KafkaPlace, prepareKafkaPlace } from '../support/place.ts';

const kafka = await peer('kafka');
const registry = await peer('registry');

describe.skipIf(!kafka.available || !registry.available)('dead letters on Kafka', () => {
  let db: TestDatabase;
  let place: KafkaPlace;
  beforeEach(async () => {
    db = await createTestDatabase();
    place = {
      databaseUrl: db.url,
      busUrl: `kafka://${addressOf(kafka).brokers.join(',')}`,
      registryUrl: addressOf(registry).url,
      prefix: `test-${randomBytes(6).toString('hex')}.`,
    };
  });
  afterEach(() => db.drop());

  it('are listed, shown, replayed once and discarded by the command', async () => {
    await prepareKafkaPlace(place);
    await expect(deadLetterStory(place, db.database)).resolves.toBeUndefined();
  });

  it('cannot be looked at before the migration step made the topics: the command says so', async () => {
    const result = await dlq(place, 'list');
    expect(result).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('npm run migrate') });
  });
});
