import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Subscription } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import type { TrafficSplitChanged } from '#lib/contracts/generated/messages.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { PostgresPromotionLedger } from '#lib/promotion/postgres-ledger.ts';
import { announceTraffic } from '#lib/serving/announce-traffic.ts';
import { deliverTraffic, signatureOf } from '#lib/serving/deliver-traffic.ts';
import { createLogger } from '#lib/service/logger.ts';
import { publishTraffic } from '../../../services/cpu-worker/app/traffic-publication.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { codec } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

const SECRET = 'a-secret-of-sixteen';
let db: TestDatabase;
let bus: PostgresBus;
let reader: Subscription;
beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  await bus.ensureTopics(topicSpecs());
  reader = await bus.subscribe({ groupId: 'reader', topics: ['models.events'], from: 'beginning' });
});
afterAll(async () => {
  await reader.close();
  await bus.close();
  await db.drop();
});

const promote = (model: string, version: number) =>
  new PostgresPromotionLedger(db.database).promote({
    project: 'demo',
    model,
    version,
    stage: 'prod',
    jobId: null,
    requestedBy: 'key',
    reason: '',
    atMs: 10 + version,
  });
const startSplit = (model: string) =>
  db.database.query(
    `select traffic_split_start(array['demo'], array[$1::text], array[2], array[1], array[12.5::float8], array['job'], array['wf'],
       array['{}'::jsonb], array[50::bigint])`,
    [model],
  );
const announce = (webhook = false) => announceTraffic({ database: db.database, bus, codec, webhook }, 1_000);
const announced = async (): Promise<TrafficSplitChanged[]> =>
  (await reader.poll({ maxMessages: 100, maxWaitMs: 0 })).map((received) => {
    const decoded = decodeMessage(codec, received);
    if (!decoded.ok) throw new Error(decoded.reason);
    return decoded.message.payload as TrafficSplitChanged;
  });

describe('TrafficSplitChanged', () => {
  it('tells the whole state of a model after each change, with a revision that rises', async () => {
    await promote('a', 1);
    await announce();
    await startSplit('a');
    await announce();
    const [first, second] = await announced();
    expect(first).toMatchObject({ project: 'demo', model: 'a', prodVersion: 1, canaryVersion: null, changedAtMs: 11 });
    expect(second).toMatchObject({
      prodVersion: 1,
      canaryVersion: 2,
      baselineVersion: 1,
      weightPercent: 12.5,
      splitJobId: 'job',
      changedAtMs: 50,
    });
    expect(second?.revision).toBeGreaterThan(first?.revision ?? Number.NaN);
    expect(await announce()).toBe(0);
  });

  it('is one message for changes that follow each other, and each change is announced by one of many processes', async () => {
    for (const version of [1, 2, 3]) await promote('b', version);
    await promote('c', 1);
    await Promise.all([announce(), announce(), announce()]);
    await announce();
    const messages = await announced();
    expect(messages.map(({ model, prodVersion }) => `${model}/${prodVersion}`).sort()).toEqual(['b/3', 'c/1']);
  });

  it('waits for its turn when the transaction fails: nothing is lost', async () => {
    await promote('d', 1);
    const broken = { publishIn: () => Promise.reject(new Error('away')) };
    await expect(announceTraffic({ database: db.database, bus: broken, codec, webhook: true }, 1)).rejects.toThrow(
      'away',
    );
    await announce();
    expect(await announced()).toMatchObject([{ model: 'd' }]);
  });
});

describe('the webhook', () => {
  interface Taken {
    readonly headers: Record<string, unknown>;
    readonly body: string;
  }
  let server: Server;
  let taken: Taken[];
  let statuses: number[];
  let webhook: { url: string; secret: string };
  beforeEach(async () => {
    taken = [];
    statuses = [];
    server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => (body += part.toString()));
      request.on('end', () => {
        const status = statuses.shift() ?? 204;
        if (status < 300) taken.push({ headers: request.headers, body });
        response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    webhook = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, secret: SECRET };
  });
  afterEach(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  let now = 10_000;
  const deliver = (at = now) => deliverTraffic(db.database, webhook, () => at);

  it('gets the event as JSON, signed with the shared secret and the time', async () => {
    await promote('w1', 1);
    await announce(true);
    expect(await deliver()).toMatchObject({ kind: 'delivered', key: 'demo/w1' });
    const [{ headers, body } = { headers: {}, body: '' }] = taken;
    expect(JSON.parse(body)).toMatchObject({ model: 'w1', prodVersion: 1 });
    const expected = createHmac('sha256', SECRET).update(`${now}.${body}`).digest('hex');
    expect(headers['x-trainyard-signature']).toBe(`t=${now},v1=${expected}`);
    expect(signatureOf('another-secret-of-16', now, body)).not.toContain(expected);
    expect(await deliver()).toEqual({ kind: 'nothing' });
  });

  it('is tried again with longer waits until it answers 2xx, and is not led elsewhere', async () => {
    now = 20_000;
    await promote('w2', 1);
    await announce(true);
    statuses = [500, 302, 429];
    expect(await deliver()).toMatchObject({ kind: 'failed', reason: 'the webhook answered 500' });
    expect(await deliver(now + 999)).toEqual({ kind: 'nothing' });
    expect(await deliver(now + 1_000)).toMatchObject({ kind: 'failed', reason: 'the webhook answered 302' });
    expect(await deliver(now + 2_999)).toEqual({ kind: 'nothing' });
    expect(await deliver(now + 3_000)).toMatchObject({ kind: 'failed' });
    expect(await deliver(now + 7_000)).toMatchObject({ kind: 'delivered' });
    expect(taken).toHaveLength(1);
  });

  it('that was away gets the newest state, not every one it missed', async () => {
    now = 40_000;
    await promote('w3', 1);
    await announce(true);
    statuses = [503];
    await deliver();
    await promote('w3', 2);
    await announce(true);
    expect(await deliver(now + 5_000)).toMatchObject({ kind: 'delivered' });
    expect(taken.map(({ body }) => (JSON.parse(body) as TrafficSplitChanged).prodVersion)).toEqual([2]);
    expect(await deliver(now + 500_000)).toEqual({ kind: 'nothing' });
  });

  it('is called by one process at a time for one change', async () => {
    now = 60_000;
    await promote('w4', 1);
    await announce(true);
    const all = await Promise.all([deliver(), deliver(), deliver()]);
    expect(all.map(({ kind }) => kind).sort()).toEqual(['delivered', 'nothing', 'nothing']);
  });

  it('and the topic hear of a change while the loop of the CPU worker runs', async () => {
    const stop = new AbortController();
    const log = createLogger({ service: 'cpu-worker', level: 'silent' });
    const running = publishTraffic({ database: db.database, bus, codec, log }, webhook, stop.signal);
    await promote('w5', 1);
    await eventually(() => taken.some(({ body }) => body.includes('"w5"')));
    stop.abort();
    await running;
    expect((await announced()).map(({ model }) => model)).toContain('w5');
  });
});
