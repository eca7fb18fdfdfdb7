// Three-step runs per second and latency of one run at a time, on the embedded PostgreSQL with fsync and synchronous_commit on.
// Usage: node bench/engine/throughput.ts [total=20000] [inFlight=1024] [rounds=5]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { Database } from '#lib/postgres/database.ts';
import { startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { cpuMs, machineCpuMs, postgresCpuMs, start, stop } from './process.ts';

const number = (n: number, standard: number): number => Number(process.argv[2 + n] ?? standard);
const total = number(0, 20_000);
const inFlight = number(1, 1_024);
const rounds = number(2, 5);

const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
const server = await startEmbeddedPostgres({
  dataDir: join(folder, 'data'),
  logFile: join(folder, 'postgres.log'),
  settings: {
    shared_buffers: '512MB',
    max_wal_size: '8GB',
    ...(process.env['PGSTAT']
      ? { shared_preload_libraries: 'pg_stat_statements', 'pg_stat_statements.track': 'all' }
      : {}),
  },
});
const database = new Database({ url: server.url, applicationName: 'bench' });
try {
  await migrate(database);
  if (process.env['PGSTAT'])
    await database.query('create extension if not exists pg_stat_statements').catch((e) => console.log(String(e)));
  const bus = new PostgresBus({ database });
  await bus.ensureTopics(topicSpecs());
  await bus.close();
  const orchestrator = await start('orchestrator', [server.url, '300']);
  const worker = await start('worker', [server.url, String(Math.max(64, inFlight * 2))]);
  console.log(`${total} runs of three steps, ${inFlight} in flight, ${rounds} rounds`);
  for (let round = 0; round < rounds; round++) {
    const pids = { orchestrator: orchestrator.pid ?? 0, worker: worker.pid ?? 0 };
    const before = {
      o: cpuMs(pids.orchestrator),
      w: cpuMs(pids.worker),
      pg: postgresCpuMs(server.pid),
      m: machineCpuMs(),
      wal: await wal(),
    };
    const client = await start('client', [server.url, String(total), String(inFlight)]);
    const result = await new Promise<{ seconds: number; p50Ms: number; p99Ms: number; cpuMs: number }>(
      (resolve, reject) => {
        client.once('message', (message) => resolve(message as never));
        client.once('exit', (code) => reject(new Error(`client ended with ${code}`)));
      },
    );
    const after = {
      o: cpuMs(pids.orchestrator),
      w: cpuMs(pids.worker),
      pg: postgresCpuMs(server.pid),
      m: machineCpuMs(),
      wal: await wal(),
    };
    const mine = after.o - before.o + after.w - before.w + after.pg - before.pg + result.cpuMs;
    const other = (after.m.busyMs - before.m.busyMs - mine) / (result.seconds * 1_000);
    const per = (ms: number): string => (ms / total).toFixed(3);
    console.log(
      [
        `${(total / result.seconds).toFixed(0)} runs/s`,
        `p50 ${result.p50Ms.toFixed(1)} ms`,
        `p99 ${result.p99Ms.toFixed(1)} ms`,
        `CPU ms/run ${per(mine)}: postgres ${per(after.pg - before.pg)}, orchestrator ${per(after.o - before.o)}, worker ${per(after.w - before.w)}, client ${per(result.cpuMs)}`,
        `WAL ${((after.wal - before.wal) / total / 1_000).toFixed(1)} kB/run`,
        `other load ${other.toFixed(2)} cores`,
      ].join(' | '),
    );
  }
  if (process.env['PGSTAT']) {
    for (const q of [
      'select query, calls, round(total_exec_time::numeric) ms from pg_stat_statements order by total_exec_time desc limit 25',
      'select relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables order by seq_tup_read desc limit 12',
    ]) {
      try {
        console.table(
          (await database.query(q)).rows.map((r: any) => ({
            ...r,
            query: r.query?.replace(/\s+/g, ' ').slice(0, 110),
          })),
        );
      } catch (e) {
        console.log(String(e));
      }
    }
  }
  await stop(worker);
  await stop(orchestrator);
} finally {
  await database.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}

async function wal(): Promise<number> {
  const { rows } = await database.query<{ bytes: string }>(
    `select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text as bytes`,
  );
  return Number(rows[0]?.bytes);
}
