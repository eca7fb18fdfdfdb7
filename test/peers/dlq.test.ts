import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { homeAt } from '../../cli/start/home.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { Database } from '#lib/postgres/database.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { deadLetterStory, letterAbout } from '../support/dead-letter-story.ts';
import { dlq, dlqWith } from '../support/dlq-command.ts';
import { startCommand } from '../support/engine-harness.ts';
import { addressOf, peer } from '../support/peers/peer.ts';
import { type KafkaPlace, openPlace, prepareKafkaPlace } from '../support/place.ts';

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

  it('are found on the local platform of the distributed profile: its own database, the bus of the stack', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-dlq-'));
    const home = homeAt(folder);
    const server = await startEmbeddedPostgres({
      dataDir: home.postgresData,
      logFile: home.logFile('postgres'),
      settings: { fsync: 'off' },
    });
    try {
      const database = new Database({ url: server.url, applicationName: 'test' });
      await migrate(database);
      await database.close();
      const here = { ...place, databaseUrl: server.url };
      await prepareKafkaPlace(here);
      const sender = await openPlace(here, 'sender');
      await sender.bus.publish([
        letterAbout(sender.codec, startCommand('wf-1', 'three_steps', { value: 1 }, 1, sender.codec), 1),
      ]);
      await sender.close();
      await mkdir(join(folder, 'stack'), { recursive: true });
      const lines = [
        `BUS_URL=${place.busUrl}`,
        `SCHEMA_REGISTRY_URL=${place.registryUrl}`,
        `TOPIC_PREFIX=${place.prefix}`,
      ];
      await writeFile(join(folder, 'stack', 'stack.env'), `${lines.join('\n')}\n`);
      const result = await dlqWith({}, 'list', '--home', folder, '--profile', 'distributed');
      expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining('UnknownSchema') });
    } finally {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
