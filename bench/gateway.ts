import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform } from '../cli/start/platform.ts';
import { SERVICES } from '../cli/start/services.ts';
import { withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { GatewayClient } from './support/gateway-client.ts';
import { costColumns, Meter } from './support/meter.ts';
import { print, printRounds, quantile, type Row } from './support/report.ts';

const CLIENTS = [1, 32];
const WARM_UP = 500;

export const gateway: Benchmark = {
  name: 'gateway',
  summary: 'submits a second over HTTP, each with validation, budget, idempotency and a durable transaction',
  options: {
    submits: { standard: 3_000, summary: 'submits of one round with 32 clients; with 1 client a third of it' },
    rounds: { standard: 5, summary: 'rounds' },
    statements: { standard: false, summary: 'print what pg_stat_statements saw' },
    profile: { standard: false, summary: "write the gateway's .cpuprofile to the temporary folder" },
  },
  run: (options) =>
    withDatabase({ title: 'gateway', statements: options.flag('statements') }, async (bench) => {
      const home = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
      // The gateway alone: what the orchestrator makes of the jobs is the engine's benchmark.
      const platform = await startPlatform({
        home,
        environment: options.flag('profile') ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${tmpdir()}` } : {},
        services: SERVICES.filter(({ name }) => name === 'gateway'),
        gatewayPort: 0,
        databaseUrl: bench.url,
        logLevel: 'warn',
        overrides: { gateway: { RATE_LIMIT_PER_MINUTE: '0' } },
      });
      const client = await GatewayClient.open(platform.gatewayUrl, platform.adminKeyFile, Math.max(...CLIENTS));
      try {
        await client.prepare('a text\n'.repeat(1_000));
        await submitAll(client, WARM_UP, 8);
        for (const clients of CLIENTS) {
          const submits = clients === 1 ? Math.ceil(options.number('submits') / 3) : options.number('submits');
          print(
            `\n${submits} submits a round, ${clients} at once; CPU and WAL per submit; bench: clients and supervisor`,
          );
          const rounds: Row[] = [];
          for (let round = 0; round < options.number('rounds'); round++) {
            const meter = await Meter.start({ gateway: platform.process('gateway').pid, bench: process.pid }, bench);
            const samples = await submitAll(client, submits, clients);
            const readings = await meter.stop();
            rounds.push({
              'submits/s': (submits / readings.seconds).toFixed(0),
              'p50 ms': quantile(samples, 0.5).toFixed(2),
              'p99 ms': quantile(samples, 0.99).toFixed(2),
              ...costColumns(readings, submits),
            });
          }
          printRounds(rounds);
        }
      } finally {
        client.close();
        await platform.stop();
        await rm(home, { recursive: true, force: true });
      }
    }),
};

/** Latencies in ms. */
async function submitAll(client: GatewayClient, submits: number, clients: number): Promise<number[]> {
  const samples: number[] = [];
  let sent = 0;
  const oneClient = async (): Promise<void> => {
    while (sent < submits) {
      sent++;
      const began = performance.now();
      await client.submit(randomUUID(), 100);
      samples.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: clients }, oneClient));
  return samples;
}
