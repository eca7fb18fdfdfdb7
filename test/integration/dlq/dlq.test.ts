import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { Database } from '#lib/postgres/database.ts';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { homeAt } from '../../../cli/start/home.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { deadLetterStory, letterAbout } from '../../support/dead-letter-story.ts';
import { dlq, dlqWith, listed } from '../../support/dlq-command.ts';
import { codec, startCommand } from '../../support/engine-harness.ts';

let db: TestDatabase;
let bus: PostgresBus;
beforeEach(async () => {
  db = await createTestDatabase();
  bus = new PostgresBus({ database: db.database });
  await bus.ensureTopics(topicSpecs());
});
afterEach(async () => {
  await bus.close();
  await db.drop();
});

const letter = (n: number, change: Parameters<typeof letterAbout>[3] = {}) =>
  letterAbout(codec, startCommand(`wf-${n}`), n, change);

const published = async (): Promise<number> =>
  (
    await db.database.query<{ n: number }>(
      `select count(*)::int as n from bus_messages where topic = 'orchestrator.commands'`,
    )
  ).rows[0]?.n ?? 0;

describe('dead letters on the embedded bus', () => {
  it('are listed, shown, replayed once and discarded by the command', async () => {
    await expect(deadLetterStory(db.url, db.database)).resolves.toBeUndefined();
  });

  it('that come twice, or are read from the beginning again, are one, and stay settled', async () => {
    const twice = letter(1);
    await bus.publish([twice, twice, letter(2)]);
    const [first] = await listed(db.url);
    await dlq(db.url, 'discard', String(first?.id), '--reason', 'test');
    // As Kafka does after a week without a command: the group's position is gone.
    await db.database.query(`delete from bus_offsets where group_id = 'dlq-command'`);
    const found = await listed(db.url, '--all');
    expect(found.map(({ state }) => state)).toEqual(['discarded', 'open']);
  });

  it('of another message at the same position, on a bus that was made anew, are another letter', async () => {
    await bus.publish([letter(1), letter(1, { value: Buffer.from('other bytes') })]);
    await expect(listed(db.url)).resolves.toHaveLength(2);
  });

  it('are read by several commands at once without being lost or doubled', async () => {
    await bus.publish(Array.from({ length: 250 }, (_, n) => letter(n)));
    const results = await Promise.all([listed(db.url), listed(db.url), listed(db.url)]);
    for (const result of results) expect(result).toHaveLength(250);
  });

  it('are chosen by topic, code and time', async () => {
    await bus.publish([letter(1), letter(2, { topic: 'lanes.cpu' })]);
    const count = async (...args: string[]): Promise<number> => (await listed(db.url, ...args)).length;
    expect(await count('--topic', 'lanes.cpu')).toBe(1);
    expect(await count('--code', 'UnknownSchema')).toBe(2);
    expect(await count('--code', 'MessageTooLarge')).toBe(0);
    expect(await count('--since', '1h')).toBe(2);
    expect(await count('--since', new Date(Date.now() + 60_000).toISOString())).toBe(0);
  });

  it('that cannot be sent again stay open, keep back no other, and say why', async () => {
    await bus.publish([letter(1, { key: null }), letter(2, { value: Buffer.alloc(1_100_000) }), letter(3)]);
    const result = await dlq(db.url, 'replay', '--all');
    expect(result).toMatchObject({ code: 1, stdout: expect.stringContaining('1 of 3 replayed') });
    expect(result.stderr).toMatch(/letter 1 cannot be replayed: .*no key/);
    expect(result.stderr).toMatch(/letter 2 cannot be replayed: .*too large/);
    await expect(listed(db.url)).resolves.toHaveLength(2);
    expect(await published()).toBe(1);
  });

  it('lose the credential of their sender once they are settled', async () => {
    const { headers, ...rest } = startCommand('wf-1');
    const message = { ...rest, headers: { ...headers, authorization: 'Bearer ty_secret' } };
    await bus.publish([letterAbout(codec, message, 1)]);
    await dlq(db.url, 'replay', '1');
    const { rows } = await db.database.query<{ letter: Buffer }>('select letter from dead_letters');
    expect(rows[0]?.letter.includes('ty_secret')).toBe(false);
    const { rows: sent } = await db.database.query<{ headers: string }>(
      `select headers from bus_messages where topic = 'orchestrator.commands'`,
    );
    expect(JSON.parse(sent[0]?.headers ?? '{}')).toEqual(message.headers);
  });

  it('are replayed once by two commands at once', async () => {
    await bus.publish([letter(1)]);
    await listed(db.url);
    const results = await Promise.all([dlq(db.url, 'replay', '1'), dlq(db.url, 'replay', '1')]);
    expect(results.map(({ code }) => code).sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual([0, 1]);
    expect(await published()).toBe(1);
  });

  it('include what is no letter at all, about itself', async () => {
    await bus.publish([{ topic: 'trainyard.dlq', key: 'k', headers: {}, value: Buffer.from('scribble') }]);
    const [found] = await listed(db.url);
    expect(found).toMatchObject({ topic: 'trainyard.dlq', code: 'MissingHeader', state: 'open' });
  });
});

describe('the command dlq', () => {
  it.each([
    [['show', '7'], 1, /NotFound: there is no dead letter 7/],
    [['replay', '7'], 1, /NotFound/],
    [['discard', '7', '--reason', 'x'], 1, /NotFound/],
    [['discard', '7'], 64, /needs --reason/],
    [['show'], 64, /needs the id of a letter/],
    [['show', 'x'], 64, /not x/],
    [['show', '1', '2'], 64, /takes one id/],
    [['replay', '1', '--all'], 64, /takes no id/],
    [['list', '--since', 'yesterday'], 64, /--since must be/],
    [['erase', '1'], 64, /needs one of: list/],
    [[], 64, /needs one of: list/],
  ])('answers %j with exit code %i and a reason', async (args, code, reason) => {
    const result = await dlq(db.url, ...args);
    expect(result).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(reason) });
  });

  it('says that there is nothing', async () => {
    await expect(dlq(db.url, 'list')).resolves.toMatchObject({ code: 0, stdout: 'no open dead letters\n' });
  });

  it('finds the platform that runs on a home, and says when none does', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-dlq-'));
    const home = homeAt(folder);
    try {
      const none = await dlqWith({ TRAINYARD_HOME: folder }, 'list');
      expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('npm start') });
      const server = await startEmbeddedPostgres({
        dataDir: home.postgresData,
        logFile: home.logFile('postgres'),
        settings: { fsync: 'off' },
      });
      try {
        const old = await dlqWith({}, 'list', '--home', folder);
        expect(old).toMatchObject({ code: 1, stderr: expect.stringContaining('DatabaseIncompatible') });
        const database = new Database({ url: server.url, applicationName: 'test' });
        await migrate(database);
        await database.close();
        await expect(dlqWith({ DATABASE_URL: db.url }, 'list', '--home', folder)).resolves.toMatchObject({ code: 0 });
      } finally {
        await server.stop();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
