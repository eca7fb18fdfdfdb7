import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { SignalWorkflow } from '#lib/contracts/generated/messages.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { PostgresTraffic } from '#lib/serving/postgres-traffic.ts';
import { routeRequest } from '#lib/serving/split.ts';
import type { CanaryState } from '#lib/statistics/canary.ts';
import { PostgresCanaries } from '../../../services/drift-monitor/adapters/postgres-canary.ts';
import { runCanaryWatch } from '../../../services/drift-monitor/adapters/run-canary-watch.ts';
import { foldBatch, lookAtSplits } from '../../../services/drift-monitor/app/watch-canaries.ts';
import { createLogger } from '#lib/service/logger.ts';
import { createMetrics } from '#lib/service/metrics.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { codec } from '../../support/engine-harness.ts';
import { eventually } from '../../support/eventually.ts';

const START = 1_800_000_000_000;
const MINUTE_MS = 60_000;
const SETTINGS = {
  minimumHours: 0.1,
  maximumHours: 2,
  minimumSample: 100,
  metrics: [
    { name: 'error_rate', against: 'baseline', higherIsBetter: false, tolerance: 0.05 },
    { name: 'slow_rate', against: 'limit', higherIsBetter: false, limit: 0.2 },
  ],
};
let db: TestDatabase;
let bus: PostgresBus;
let reader: Subscription;
beforeAll(async () => {
  db = await createTestDatabase({ maxConnections: 8 });
  bus = new PostgresBus({ database: db.database, retentionIntervalMs: 0 });
  await bus.ensureTopics(topicSpecs());
  reader = await bus.subscribe({ groupId: 'reader', topics: ['orchestrator.commands'], from: 'beginning' });
});
afterAll(async () => {
  await reader.close();
  await bus.close();
  await db.drop();
});

const startSplit = (model: string, policy: unknown, atMs = START, job = model) =>
  db.database.query(
    `select traffic_split_start(array['demo'], array[$1::text], array[2], array[1], array[10::float8], array[$4 || '-job'], array[$4 || '-wf'],
       array[$2::jsonb], array[$3::bigint])`,
    [model, JSON.stringify(policy), atMs, job],
  );

interface Answer {
  readonly version: number;
  readonly features: Record<string, unknown>;
  readonly id?: string;
  /** Null: dealt on its own. */
  readonly unit?: string | null;
}
let sent = 0;
const outgoing = (model: string, atMs: number, answers: readonly Answer[]) =>
  answers.map(({ version, features, id = `o-${++sent}`, unit = null }) =>
    encodeMessage(codec, {
      topic: 'production.observations',
      key: model,
      type: 'ObservationRecorded',
      payload: {
        observationId: id,
        project: 'demo',
        model,
        modelVersion: version,
        observedAtMs: atMs,
        featuresJson: JSON.stringify(features),
        prediction: 'stop',
        score: null,
        label: null,
        routingUnit: unit,
      },
      envelope: { id, source: '/model-server', timeMs: atMs },
    }),
  );
const received = (...messages: ReturnType<typeof outgoing>): ReceivedMessage[] =>
  messages.map((message, offset) => ({ ...message, partition: 0, offset }));

/** A process of its own each time: nothing may be in memory only. */
const ports = () => ({ store: new PostgresCanaries(db.database, bus), codec });

/** A minute of traffic with these chances of an error, and a look at its end. */
async function minute(model: string, at: number, errors: { canary: number; baseline: number }, random: () => number) {
  const atMs = START + at * MINUTE_MS;
  const answers = Array.from({ length: 100 }, (_, i): Answer => {
    const canary = i % 5 === 0;
    const failed = random() < (canary ? errors.canary : errors.baseline) ? 1 : 0;
    return { version: canary ? 2 : 1, features: { failed, latencyMs: 50, arm: canary ? 'canary' : 'baseline' } };
  });
  await foldBatch(ports(), received(...outgoing(model, atMs - 1, answers)), atMs);
  return lookAtSplits(ports(), atMs);
}

const stateOf = async (model: string): Promise<CanaryState | null> =>
  (
    await db.database.query<{ state: CanaryState }>(
      `select w.state from canary_watches w join traffic_splits s on s.id = w.split_id where s.model = $1`,
      [model],
    )
  ).rows[0]?.state ?? null;
async function signals(): Promise<
  { signal: SignalWorkflow; id: string; data: { outcome: string; reports: unknown[] } }[]
> {
  const messages = await reader.poll({ maxMessages: 100, maxWaitMs: 0 });
  return messages.map((each) => {
    const decoded = decodeMessage(codec, each);
    if (!decoded.ok) throw new Error(decoded.reason);
    const signal = decoded.message.payload as SignalWorkflow;
    return { signal, id: decoded.message.id, data: JSON.parse(signal.dataJson) };
  });
}
const end = (model: string) =>
  db.database.query(
    `select traffic_split_end(array['demo'], array[$1::text], array[$1 || '-job'], array['done'], array[$2::bigint])`,
    [model, START],
  );

describe('the canary watch', () => {
  it.each([
    ['good', 'pass', { canary: 0.02, baseline: 0.02 }],
    ['bad', 'fail', { canary: 0.6, baseline: 0.02 }],
  ])('a %s canary ends in one signal: %s', async (model, outcome, errors) => {
    const random = mulberry32(11);
    await startSplit(model, SETTINGS);
    const verdicts: { jobId: string; outcome: string }[] = [];
    for (let at = 1; at <= 120 && verdicts.length === 0; at++)
      verdicts.push(...(await minute(model, at, errors, () => random.next())));
    expect(verdicts).toEqual([{ jobId: `${model}-job`, outcome }]);
    // Looked at again and fed on, nothing more comes of it.
    await minute(model, 121, errors, () => random.next());
    const published = await signals();
    expect(published).toMatchObject([
      {
        id: `canary:${model}-job:${model}:verdict`,
        signal: { workflowId: `${model}-wf`, signal: 'canary.verdict', requestedBy: 'canary-watch' },
        data: { outcome, reports: [{ metric: 'error_rate' }, { metric: 'slow_rate' }] },
      },
    ]);
    await end(model);
  });

  it('a metric that nobody reports is not a pass: inconclusive at the end of the longest time', async () => {
    await startSplit('silent', SETTINGS);
    const verdicts = [];
    for (let at = 1; at <= 121; at++) {
      const atMs = START + at * MINUTE_MS;
      const answers = Array.from({ length: 50 }, (_, i) => ({ version: 1 + (i % 2), features: { failed: 0 } }));
      await foldBatch(ports(), received(...outgoing('silent', atMs - 1, answers)), atMs);
      verdicts.push(...(await lookAtSplits(ports(), atMs)));
    }
    expect(verdicts).toEqual([{ jobId: 'silent-job', outcome: 'inconclusive' }]);
    const [published] = await signals();
    expect(published?.data.reports).toMatchObject([{ standing: 'Harmless' }, { standing: 'MetricMissing' }]);
    await end('silent');
  });

  it('counts an observation once, however often and in whatever batch it comes, and no stranger', async () => {
    await startSplit('once', SETTINGS);
    const batch = received(
      ...outgoing('once', START + 1, [
        { version: 2, features: { failed: 1 }, id: 'x1' },
        { version: 2, features: { failed: 1 }, id: 'x1' },
        { version: 1, features: { failed: 0 }, id: 'x2' },
        { version: 2, features: { failed: 1, arm: 'explicit' } },
        { version: 3, features: { failed: 1 } },
      ]),
      ...outgoing('another', START + 1, [{ version: 2, features: { failed: 1 } }]),
      ...outgoing('once', START - 1, [{ version: 2, features: { failed: 1 } }]),
    );
    expect(await foldBatch(ports(), batch, START + 2)).toBe(2);
    // As after a crash between the transaction and the commit of the position.
    expect(await foldBatch(ports(), batch, START + 3)).toBe(0);
    await lookAtSplits(ports(), START + MINUTE_MS);
    expect(await stateOf('once')).toMatchObject({
      lastSequence: 1,
      arms: { error_rate: { canary: { count: 1, sum: 1 }, baseline: { count: 1, sum: 0 } } },
    });
    await end('once');
  });

  it('counts a user once in a quarter of the longest time, by the first answer, however many there are', async () => {
    await startSplit('sticky', SETTINGS);
    const atMinute = async (at: number) => {
      const atMs = START + at * MINUTE_MS;
      // One user for whom nothing works, one for whom everything does, and two requests that were dealt on their own.
      const heavy = Array.from(
        { length: 40 },
        (_, i): Answer => ({ version: 2, unit: 'heavy', features: { failed: i === 0 ? 1 : 0 } }),
      );
      const others: Answer[] = [
        { version: 1, unit: 'light', features: { failed: 0 } },
        { version: 2, features: { failed: 0 } },
        { version: 2, features: { failed: 0 } },
      ];
      const counted = await foldBatch(ports(), received(...outgoing('sticky', atMs - 1, [...heavy, ...others])), atMs);
      await lookAtSplits(ports(), atMs);
      return { counted, state: await stateOf('sticky') };
    };
    expect(await atMinute(1)).toMatchObject({
      counted: 4,
      state: { period: 0, arms: { error_rate: { canary: { count: 3, sum: 1 }, baseline: { count: 1, sum: 0 } } } },
    });
    expect((await atMinute(2)).counted).toBe(2);
    // The longest time is two hours: after 30 minutes everybody may speak again, and what was said before is the former quarter's.
    expect((await atMinute(30)).state).toMatchObject({ period: 1, arms: {}, outcome: 'running' });
    expect(await atMinute(31)).toMatchObject({
      counted: 4,
      state: { period: 1, arms: { error_rate: { canary: { count: 3, sum: 1 }, baseline: { count: 1 } } } },
    });
    await end('sticky');
  });

  it('leaves out what the intake refuses: one that no table takes holds nothing up', async () => {
    await startSplit('hostile', SETTINGS);
    const features = { failed: 1 };
    const batch = received(
      ...outgoing('hostile', START + 1, [
        { version: 2, features, id: `n${String.fromCodePoint(0)}` },
        {
          version: 2,
          features,
          id: Array.from({ length: 6_000 }, (_, i) => String.fromCodePoint(97 + ((i * i) % 26))).join(''),
        },
        { version: 2, features, id: 'sound' },
      ]),
    );
    expect(await foldBatch(ports(), batch, START + 2)).toBe(1);
    await end('hostile');
  });

  it('of two processes that look at the same moment, one does', async () => {
    await startSplit('both', SETTINGS);
    await Promise.all([1, 2, 3].map(() => lookAtSplits(ports(), START + MINUTE_MS)));
    expect(await stateOf('both')).toMatchObject({ lastSequence: 1 });
    await end('both');
  });

  const promote = (model: string, version: number) =>
    db.database.query(
      `select promotion_append(array['demo'], array[$1::text], array[$2::int], array['prod'], array[null::text], array['person'], array['because'],
         array[$3::bigint])`,
      [model, version, START],
    );
  const route = async (model: string) => {
    const traffic = await new PostgresTraffic(db.database).trafficOf('demo', model);
    return new Set(Array.from({ length: 500 }, (_, i) => routeRequest('demo', model, traffic, `user-${i}`)?.version));
  };

  it('a rollback during a canary: within a second the restored version has all traffic, and the workflow its verdict', async () => {
    for (const version of [7, 1]) await promote('rolled', version);
    await startSplit('rolled', SETTINGS);
    await minute('rolled', 1, { canary: 0, baseline: 0 }, () => 1);
    expect(await route('rolled')).toEqual(new Set([1, 2]));
    const startMs = performance.now();
    await db.database.query(`select promotion_rollback('demo', 'rolled', 'person', 'bad', $1)`, [START + MINUTE_MS]);
    expect(await route('rolled')).toEqual(new Set([7]));
    const told = await Promise.all([1, 2, 3].map(() => lookAtSplits(ports(), START + MINUTE_MS + 1)));
    expect(performance.now() - startMs).toBeLessThan(1_000);
    expect(told.flat()).toEqual([{ jobId: 'rolled-job', outcome: 'fail' }]);
    expect(await lookAtSplits(ports(), START + 2 * MINUTE_MS)).toEqual([]);
    expect(await signals()).toMatchObject([
      {
        id: 'canary:rolled-job:rolled:verdict',
        signal: { workflowId: 'rolled-wf', signal: 'canary.verdict' },
        data: { outcome: 'fail', reports: [{ metric: 'traffic', standing: 'Superseded' }] },
      },
    ]);
    // What was seen until then is kept for people.
    expect(await stateOf('rolled')).toMatchObject({ outcome: 'fail', lastSequence: 1 });
  });

  it('of two canaries at once, the second is told at the next look that there was none', async () => {
    await startSplit('twice', SETTINGS);
    await startSplit('twice', SETTINGS, START + 1, 'second');
    expect(await lookAtSplits(ports(), START + 2)).toEqual([{ jobId: 'second-job', outcome: 'inconclusive' }]);
    expect(await lookAtSplits(ports(), START + 3)).toEqual([]);
    expect((await signals()).map(({ signal, data }) => [signal.workflowId, data])).toEqual([
      ['second-wf', { outcome: 'inconclusive', reports: [{ metric: 'traffic', standing: 'SplitRefused' }] }],
    ]);
    await end('twice');
  });

  it('a canary that a person puts into prod passes: failed, its workflow would take it out again', async () => {
    await promote('chosen', 1);
    await startSplit('chosen', SETTINGS);
    await promote('chosen', 2);
    expect(await lookAtSplits(ports(), START + 2)).toEqual([{ jobId: 'chosen-job', outcome: 'pass' }]);
    expect((await signals())[0]?.data.reports).toEqual([{ metric: 'traffic', standing: 'Superseded' }]);
  });

  it('a policy that cannot be read is inconclusive at once, so that people decide', async () => {
    await startSplit('odd', { metrics: 'all of them' });
    expect(await lookAtSplits(ports(), START + 1)).toEqual([{ jobId: 'odd-job', outcome: 'inconclusive' }]);
    expect((await signals())[0]?.data).toEqual({ outcome: 'inconclusive', reports: [] });
    await end('odd');
  });

  it('a split that its workflow ended is not watched any more', async () => {
    await startSplit('ended', SETTINGS);
    await end('ended');
    expect(await lookAtSplits(ports(), START + 500 * MINUTE_MS)).toEqual([]);
    expect(await stateOf('ended')).toBeNull();
  });

  it('runs in the service: from observations on the bus to the signal', async () => {
    const now = Date.now();
    await startSplit('live', { ...SETTINGS, minimumHours: 0, minimumSample: 1 }, now - 70_000);
    const stop = new AbortController();
    const stops: (() => unknown)[] = [];
    const failures: unknown[] = [];
    await runCanaryWatch(
      {
        logger: createLogger({ service: 'drift-monitor', level: 'silent' }),
        metrics: createMetrics('drift-monitor'),
        signal: stop.signal,
        onStop: (_what, end) => void stops.push(end),
        fail: (error) => void failures.push(error),
      },
      db.database,
      bus,
      codec,
    );
    const answers = Array.from({ length: 300 }, (_, i) => ({
      version: 1 + (i % 2),
      features: { failed: i % 2, latencyMs: 5 },
    }));
    await bus.publish(outgoing('live', now - 1_000, answers));
    const [published] = await eventually(async () => {
      const all = await signals();
      return all.length > 0 ? all : false;
    });
    expect(published).toMatchObject({ signal: { workflowId: 'live-wf' }, data: { outcome: 'fail' } });
    stop.abort();
    for (const each of stops) await each();
    expect(failures).toEqual([]);
  });
});
