import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import { serviceEnvironment } from '../test/support/place.ts';
import { type BenchDatabase, withDatabase } from './support/bench-database.ts';
import { memoryOf } from './support/machine.ts';
import { costColumns, Meter } from './support/meter.ts';
import { publish } from './support/product-orchestrator.ts';
import { print, printGoal, printTable, type Row } from './support/report.ts';

const SERVICE = new URL('../services/drift-monitor/main.ts', import.meta.url);
const CHUNK = 10_000;
const MODELS = ['model-a', 'model-b', 'model-c', 'model-d'];
/** Observations are a millisecond apart: a window holds so many, of all models together. */
const WINDOW_MS = 80_000;

/** The service as it runs: bus, Avro, JSON, windows, PostgreSQL. `observations` in the first stretch, three times as many in the second. */
export const serviceSpeed = (observations: number, profile: ReferenceProfile, features: readonly string[]) =>
  withDatabase({ title: '\nthe service' }, async (bench) => {
    await prepare(bench, profile);
    // All of them before it starts: the publisher would take the second core, and a bus that runs empty closes windows by the clock.
    const all = 4 * observations;
    for (let from = 0; from < all; from += CHUNK)
      await publish(
        bench,
        Array.from({ length: Math.min(CHUNK, all - from) }, (_, n) => message(bench, from + n, features)),
      );
    const child = spawn(process.execPath, [SERVICE.pathname], {
      env: {
        ...serviceEnvironment(bench.place),
        NODE_COMPILE_CACHE: globalThis.process.env['NODE_COMPILE_CACHE'] ?? '',
        LOG_LEVEL: 'warn',
        // Nothing is thinned: every observation costs what it costs.
        OBSERVATIONS_PER_WINDOW: String(Number.MAX_SAFE_INTEGER),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child, 'spawn');
    createInterface({ input: child.stdout }).on('line', print);
    const pid = child.pid ?? 0;
    try {
      const rows: Row[] = [];
      const rss: number[] = [];
      let begin = await taken(bench, 1);
      for (const end of [observations, all]) {
        const meter = await Meter.start({ 'drift-monitor': pid }, bench);
        const reached = await taken(bench, end);
        const readings = await meter.stop();
        const count = reached - begin;
        begin = reached;
        rss.push(memoryOf(pid).rssMb);
        const cpuSeconds = (readings.cpuMs['drift-monitor'] ?? Number.NaN) / 1_000;
        rows.push({
          observations: String(count),
          'a second': (count / readings.seconds).toFixed(0),
          'a second of one core': (count / cpuSeconds).toFixed(0),
          ...costColumns(readings, count),
          'RSS MB': (rss.at(-1) ?? Number.NaN).toFixed(0),
        });
      }
      printTable(rows);
      await judged(bench);
      printGoal('observations a second of one core, service, warm', Number(rows[1]?.['a second of one core']), '/s', {
        atLeast: 20_000,
      });
      printGoal('memory after four times as many', (rss[1] ?? Number.NaN) - (rss[0] ?? Number.NaN), 'MB', {
        atMost: 50,
      });
    } finally {
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    }
  });

async function prepare({ database }: BenchDatabase, profile: ReferenceProfile): Promise<void> {
  await database.query("insert into projects (id) values ('bench') on conflict do nothing");
  const policy = JSON.stringify({ spec: {}, drift: { windowMs: WINDOW_MS, latenessMs: 1_000 } });
  for (const model of MODELS) {
    await database.query(
      `insert into model_references (project, model, version, profile, updated_at_ms) values ('bench', $1, 1, $2, 0)`,
      [model, JSON.stringify(profile)],
    );
    await database.query(
      `insert into retrain_policies (project, model, policy, enabled, updated_at_ms) values ('bench', $1, $2, true, 0)`,
      [model, policy],
    );
  }
}

const EPOCH_MS = 1_700_000_000_000;

const message = ({ codec }: BenchDatabase, n: number, features: readonly string[]) =>
  encodeMessage(codec, {
    topic: 'production.observations',
    key: MODELS[n % MODELS.length] ?? '',
    type: 'ObservationRecorded',
    payload: {
      observationId: `observation-${n}`,
      project: 'bench',
      model: MODELS[n % MODELS.length] ?? '',
      modelVersion: 1,
      observedAtMs: EPOCH_MS + n,
      featuresJson: features[n % features.length] ?? '{}',
      prediction: 'yes',
      score: 0.5,
      label: null,
      routingUnit: null,
    },
    envelope: { id: `observation-${n}`, source: '/bench', timeMs: EPOCH_MS + n },
  });

/** Waits until so many are stored in windows; returns how many are. */
async function taken({ database }: BenchDatabase, atLeast: number): Promise<number> {
  for (;;) {
    const { rows } = await database.query<{ n: number }>(
      `select coalesce(sum((state->'counters'->>'inTime')::bigint + (state->'counters'->>'outOfOrder')::bigint), 0)::bigint as n
       from drift_windows`,
    );
    const count = rows[0]?.n ?? 0;
    if (count >= atLeast || atLeast <= 0) return count;
    await delay(20);
  }
}

async function judged({ database }: BenchDatabase): Promise<void> {
  const { rows } = await database.query<{ outcome: string; n: number }>(
    'select coalesce(reason, outcome) as outcome, count(*)::int as n from drift_signals group by 1 order by 2 desc',
  );
  print(`windows judged: ${rows.map(({ outcome, n }) => `${n} ${outcome}`).join(', ')}`);
}
