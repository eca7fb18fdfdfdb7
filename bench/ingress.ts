import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { startPlatform } from '../cli/start/platform.ts';
import { SERVICES } from '../cli/start/services.ts';
import { type BenchDatabase, BUS_OPTION, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { BENCH_PROJECT, benchSpec, GatewayClient } from './support/gateway-client.ts';
import { costColumns, Meter } from './support/meter.ts';
import { median, print, printGoal, printRounds, type Row } from './support/report.ts';

const PUBLISH_CHUNK = 1_000;
const WARM_UP = 2_000;

export const ingress: Benchmark = {
  name: 'ingress',
  summary: 'jobs a second that other systems ask for by records: every check of REST, one transaction a batch',
  options: {
    records: { standard: 10_000, summary: 'records of one round' },
    rounds: { standard: 5, summary: 'rounds' },
    bus: { ...BUS_OPTION, standard: 'kafka' },
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: false, summary: "write the gateway's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase(
      { title: 'ingress', statements: options.flag('statements'), bus: options.text('bus') },
      async (bench) => {
        const home = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
        const { place } = bench;
        // The gateway alone: what the orchestrator makes of the jobs is the engine's benchmark.
        const platform = await startPlatform({
          home,
          environment: options.flag('profile') ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${tmpdir()}` } : {},
          services: SERVICES.filter(({ name }) => name === 'gateway'),
          gatewayPort: 0,
          databaseUrl: bench.url,
          ports: typeof place === 'string' ? {} : { BUS_URL: place.busUrl, SCHEMA_REGISTRY_URL: place.registryUrl },
          logLevel: 'warn',
        });
        const client = await GatewayClient.open(platform.gatewayUrl, platform.adminKeyFile, 1);
        try {
          await client.prepare('a text\n'.repeat(1_000));
          const key = (await readFile(platform.adminKeyFile, 'utf8')).trim();
          await send(bench, key, WARM_UP);
          await accepted(bench, WARM_UP);
          const count = options.number('records');
          print(`\n${count} records a round; CPU and WAL per record`);
          const rows: Row[] = [];
          for (let round = 0; round < options.number('rounds'); round++) {
            const before = await jobs(bench);
            const meter = await Meter.start({ ...bench.servers, gateway: platform.process('gateway').pid }, bench);
            await send(bench, key, count);
            await accepted(bench, before + count);
            const readings = await meter.stop();
            rows.push({ 'jobs/s': (count / readings.seconds).toFixed(0), ...costColumns(readings, count) });
          }
          printRounds(rows);
          printGoal('jobs accepted from records', median(rows.map((row) => Number(row['jobs/s']))), 'a second', {
            atLeast: 2_000,
          });
        } finally {
          client.close();
          await platform.stop();
          await rm(home, { recursive: true, force: true });
        }
      },
    ),
};

const specJson = JSON.stringify(benchSpec(100));

async function send({ bus, codec }: BenchDatabase, key: string, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += PUBLISH_CHUNK)
    await bus.publish(
      Array.from({ length: Math.min(PUBLISH_CHUNK, count - sent) }, (): OutgoingMessage => {
        const id = randomUUID();
        const message = encodeMessage(codec, {
          topic: 'jobs.requests',
          // Of one project: on real clusters several, and then several partitions and gateways.
          key: id,
          type: 'JobRequested',
          payload: {
            project: BENCH_PROJECT,
            idempotencyKey: id,
            jobType: 'fine_tune',
            priority: null,
            specJson,
            labels: {},
            description: '',
          },
          envelope: { id, source: '/bench', timeMs: Date.now() },
        });
        return { ...message, headers: { ...message.headers, authorization: `Bearer ${key}` } };
      }),
    );
}

const jobs = async ({ database }: BenchDatabase): Promise<number> =>
  Number((await database.query<{ n: number }>('select count(*) as n from jobs')).rows[0]?.n);

async function accepted(bench: BenchDatabase, count: number): Promise<void> {
  while ((await jobs(bench)) < count) await delay(20);
}
