import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import type { PostgresSubscription } from '#lib/bus/postgres-subscription.ts';
import { Database } from '#lib/postgres/database.ts';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { migrate } from '#lib/postgres/migrate.ts';

// The embedded bus alone, durable (fsync and synchronous_commit on), client and server on this machine. Not measured: Avro, several
// producers, a log larger than memory. CPU is of this process plus all processes of PostgreSQL (Linux only), WAL includes page images.
const TOPICS = ['activities.events', 'lanes.cpu'];
const PARTITIONS = 16;
const BATCH = 1_000;
const BATCHES = 100;
const BODY_BYTES = 300;
const LATENCY_SAMPLES = 1_000;
const IDLE_MS = 10_000;
const HEADERS = {
  ce_id: '0193a6d5-8d1d-7e83-b5a5-8a1f1c3a1f0a',
  ce_type: 'ExecuteActivity',
  ce_source: 'orchestrator',
  ce_subject: 'wf-fine_tune-demo-1',
  ce_time: '2026-11-24T03:40:58.677Z',
};

const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-bus-'));
const server = await startEmbeddedPostgres({ dataDir: join(folder, 'data'), logFile: join(folder, 'postgres.log') });
/** Counts statements where they are sent: PostgreSQL's own counters arrive up to 10 s late from an idle session. */
class CountingDatabase extends Database {
  queries = 0;
  override query<Row>(...args: Parameters<Database['query']>): ReturnType<typeof Database.prototype.query<Row>> {
    this.queries++;
    return super.query<Row>(...args);
  }
}
const database = new CountingDatabase({ url: server.url, applicationName: 'bench-bus' });
await migrate(database);
const bus = new PostgresBus({ database });
await bus.ensureTopics(TOPICS.map((topic) => ({ topic, partitions: PARTITIONS, retentionMs: 86_400_000 })));
try {
  console.log(`load average before: ${loadavg()[0]?.toFixed(2)}`);
  await measure(`publish, ${BATCH} a statement`, BATCH * BATCHES, publishBatches);
  const subscription = await bus.subscribe({ groupId: 'bench', topics: TOPICS, from: 'beginning' });
  await measure(`poll and commit, ${BATCH} at most`, BATCH * BATCHES, () => drain(subscription, BATCH * BATCHES));
  await measure('publish, one at a time', 2_000, () => publishSingly(2_000));
  await measure('publish, 100 callers at once', 20_000, () => publishConcurrently(20_000, 100));
  await drain(subscription, 22_000);
  await latency(subscription);
  await idle(subscription);
  await bus.close();
} finally {
  await database.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

function messageOf(i: number): OutgoingMessage {
  return {
    topic: TOPICS[i % TOPICS.length] ?? '',
    key: `wf-fine_tune-demo-${i}`,
    headers: HEADERS,
    value: Buffer.alloc(BODY_BYTES, i),
  };
}

async function publishBatches(): Promise<void> {
  for (let b = 0; b < BATCHES; b++)
    await bus.publish(Array.from({ length: BATCH }, (_, i) => messageOf(b * BATCH + i)));
}

async function publishSingly(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await bus.publish([messageOf(i)]);
}

async function publishConcurrently(count: number, callers: number): Promise<void> {
  await Promise.all(Array.from({ length: callers }, () => publishSingly(count / callers)));
}

async function drain(subscription: PostgresSubscription, count: number): Promise<void> {
  for (let received = 0; received < count; ) {
    const batch = await subscription.poll({ maxMessages: BATCH, maxWaitMs: 1_000 });
    const last = new Map(batch.map((m) => [`${m.topic}/${m.partition}`, m]));
    await subscription.commit([...last.values()].map((m) => ({ ...m, nextOffset: m.offset + 1 })));
    received += batch.length;
  }
}

async function latency(subscription: PostgresSubscription): Promise<void> {
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
  samples.sort((a, b) => a - b);
  const at = (q: number): string => `${samples[Math.floor(samples.length * q)]?.toFixed(2)} ms`;
  console.log(`latency publish -> poll, ${LATENCY_SAMPLES} messages in turn: p50 ${at(0.5)}, p99 ${at(0.99)}`);
}

async function idle(subscription: PostgresSubscription): Promise<void> {
  const until = performance.now() + IDLE_MS;
  const before = database.queries;
  const cpu = await cpuMs();
  while (performance.now() < until) await subscription.poll({ maxMessages: 10, maxWaitMs: until - performance.now() });
  const seconds = IDLE_MS / 1_000;
  const queries = (database.queries - before) / seconds;
  const { client, server: database_ } = since(cpu, await cpuMs());
  console.log(
    `idle subscription, heartbeats included: ${queries.toFixed(1)} queries/s, CPU client ${(client / seconds).toFixed(1)} + server ${(database_ / seconds).toFixed(1)} ms/s`,
  );
}

async function measure(name: string, messages: number, work: () => Promise<void>): Promise<void> {
  const [cpu, wal] = [await cpuMs(), await walBytes()];
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1_000;
  const used = since(cpu, await cpuMs());
  const perThousand = (ms: number): string => ((ms / messages) * 1_000).toFixed(1);
  const walPer = ((await walBytes()) - wal) / messages;
  console.log(
    `${name}: ${Math.round(messages / seconds)} messages/s, CPU per 1,000: client ${perThousand(used.client)} + server ${perThousand(used.server)} ms, ${Math.round(walPer)} bytes WAL each`,
  );
}

async function walBytes(): Promise<number> {
  const { rows } = await database.query<{ n: string }>(`select (pg_current_wal_insert_lsn() - '0/0')::text as n`);
  return Number(rows[0]?.n);
}

interface CpuTime {
  readonly clientMs: number;
  /** By process id: a session that ends in between takes its figure with it. */
  readonly serverMs: ReadonlyMap<string, number>;
}

/** CPU time of this process and of the server's so far; /proc counts in ticks of 10 ms. */
async function cpuMs(): Promise<CpuTime> {
  const own = process.cpuUsage();
  const serverMs = new Map<string, number>();
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(pid) === server.pid || Number(fields[1]) === server.pid)
      serverMs.set(pid, (Number(fields[11]) + Number(fields[12])) * 10);
  }
  return { clientMs: (own.user + own.system) / 1_000, serverMs };
}

function since(before: CpuTime, now: CpuTime): { client: number; server: number } {
  const server = [...now.serverMs].reduce((sum, [pid, ms]) => sum + ms - (before.serverMs.get(pid) ?? 0), 0);
  return { client: now.clientMs - before.clientMs, server };
}
