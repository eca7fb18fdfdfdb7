import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import type { PostgresSubscription } from '#lib/bus/postgres-subscription.ts';
import { Database } from '#lib/postgres/database.ts';
import { type BenchDatabase, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { costColumns, Meter } from './support/meter.ts';
import { print, printTable, quantile, type Row } from './support/report.ts';

// Topics of its own, so that the platform's partition counts may change without changing what is measured here.
const TOPICS = ['bench.first', 'bench.second'];
const PARTITIONS = 16;
const BATCH = 1_000;
const BODY_BYTES = 300;
const LATENCY_SAMPLES = 1_000;
const IDLE_MS = 10_000;
const SINGLE = 2_000;
const CALLERS = 100;
const CONCURRENT = 20_000;
const HEADERS = {
  ce_id: '0193a6d5-8d1d-7e83-b5a5-8a1f1c3a1f0a',
  ce_type: 'ExecuteActivity',
  ce_source: 'orchestrator',
  ce_subject: 'wf-fine_tune-demo-1',
  ce_time: '2026-11-24T03:40:58.677Z',
};

export const bus: Benchmark = {
  name: 'bus',
  summary: 'the embedded bus alone: publish, poll and commit, latency, cost of an idle subscription',
  options: { messages: { standard: 100_000, summary: 'messages published and read in batches of 1,000' } },
  run: (options) => withDatabase({ title: 'bus' }, (bench) => measureAll(bench, options.number('messages'))),
};

/** Counts statements where they are sent: PostgreSQL's own counters arrive up to 10 s late from an idle session. */
class CountingDatabase extends Database {
  queries = 0;
  override query<Row>(...args: Parameters<Database['query']>): ReturnType<typeof Database.prototype.query<Row>> {
    this.queries++;
    return super.query<Row>(...args);
  }
}

async function measureAll(bench: BenchDatabase, messages: number): Promise<void> {
  const database = new CountingDatabase({ url: bench.url, applicationName: 'bench-bus' });
  const bus = new PostgresBus({ database });
  await bus.ensureTopics(TOPICS.map((topic) => ({ topic, partitions: PARTITIONS, retentionMs: 86_400_000 })));
  const rows: Row[] = [];
  const measure = async (what: string, units: number, work: () => Promise<void>): Promise<void> => {
    const meter = await Meter.start({ client: process.pid }, bench);
    await work();
    const readings = await meter.stop();
    rows.push({ what, 'messages/s': (units / readings.seconds).toFixed(0), ...costColumns(readings, units) });
  };
  await measure(`publish, ${BATCH} a statement`, messages, () => publishBatches(bus, messages));
  const subscription = await bus.subscribe({ groupId: 'bench', topics: TOPICS, from: 'beginning' });
  await measure(`poll and commit, ${BATCH} at most`, messages, () => drain(subscription, messages));
  await measure('publish, one at a time', SINGLE, () => publishSingly(bus, SINGLE));
  await measure(`publish, ${CALLERS} callers at once`, CONCURRENT, async () => {
    await Promise.all(Array.from({ length: CALLERS }, () => publishSingly(bus, CONCURRENT / CALLERS)));
  });
  await drain(subscription, SINGLE + CONCURRENT);
  print(
    `\nbodies of ${BODY_BYTES} bytes, ${TOPICS.length} topics of ${PARTITIONS} partitions; CPU and WAL per message`,
  );
  printTable(rows);
  await latency(bus, subscription);
  await idle(bench, database, subscription);
  await bus.close();
  await database.close();
}

function messageOf(i: number): OutgoingMessage {
  return {
    topic: TOPICS[i % TOPICS.length] ?? '',
    key: `wf-fine_tune-demo-${i}`,
    headers: HEADERS,
    value: Buffer.alloc(BODY_BYTES, i),
  };
}

async function publishBatches(bus: PostgresBus, messages: number): Promise<void> {
  for (let at = 0; at < messages; at += BATCH)
    await bus.publish(Array.from({ length: Math.min(BATCH, messages - at) }, (_, i) => messageOf(at + i)));
}

async function publishSingly(bus: PostgresBus, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await bus.publish([messageOf(i)]);
}

async function drain(subscription: PostgresSubscription, count: number): Promise<void> {
  for (let received = 0; received < count; ) {
    const batch = await subscription.poll({ maxMessages: BATCH, maxWaitMs: 1_000 });
    const last = new Map(batch.map((m) => [`${m.topic}/${m.partition}`, m]));
    await subscription.commit([...last.values()].map((m) => ({ ...m, nextOffset: m.offset + 1 })));
    received += batch.length;
  }
}

async function latency(bus: PostgresBus, subscription: PostgresSubscription): Promise<void> {
  const samples: number[] = [];
  for (let i = 0; i < LATENCY_SAMPLES; i++) {
    const waiting = subscription.poll({ maxMessages: 10, maxWaitMs: 5_000 });
    // The subscriber waits already, as it does on a quiet platform.
    await delay(3);
    const began = performance.now();
    await bus.publish([messageOf(i)]);
    if ((await waiting).length === 0) throw new Error('a message did not arrive');
    samples.push(performance.now() - began);
  }
  const at = (q: number): string => `${quantile(samples, q).toFixed(2)} ms`;
  print(`\nlatency publish -> poll, ${LATENCY_SAMPLES} messages in turn: p50 ${at(0.5)}, p99 ${at(0.99)}`);
}

async function idle(
  bench: BenchDatabase,
  database: CountingDatabase,
  subscription: PostgresSubscription,
): Promise<void> {
  const until = performance.now() + IDLE_MS;
  const before = database.queries;
  const meter = await Meter.start({ client: process.pid }, bench);
  while (performance.now() < until) await subscription.poll({ maxMessages: 10, maxWaitMs: until - performance.now() });
  const { cpuMs, seconds } = await meter.stop();
  const perSecond = (ms: number | undefined): string => ((ms ?? 0) / seconds).toFixed(1);
  print(
    `idle subscription, heartbeats included: ${((database.queries - before) / seconds).toFixed(1)} queries/s, ` +
      `CPU client ${perSecond(cpuMs['client'])} + postgres ${perSecond(cpuMs['postgres'])} ms/s`,
  );
}
