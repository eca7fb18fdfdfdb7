import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openModelRegistry } from '#lib/model-registry/open.ts';
import { uploadFolder } from '#lib/object-store/manifest.ts';
import { openObjectStore } from '#lib/object-store/open.ts';
import { PostgresPromotionLedger } from '#lib/promotion/postgres-ledger.ts';
import { routeRequest } from '#lib/serving/split.ts';
import { readCorpus } from '#lib/text/corpus-file.ts';
import { bpeTrainer } from '#lib/text/bpe-trainer.ts';
import { tokenizerJson } from '#lib/text/tokenizer.ts';
import { startPlatform } from '../cli/start/platform.ts';
import { SERVICES } from '../cli/start/services.ts';
import { builtInConfig, writeModelFolder } from '../services/gpu-worker/trainer/formats/model-folder.ts';
import { initialWeights } from '../services/gpu-worker/trainer/model/gpt2.ts';
import { type BenchDatabase, withDatabase } from './support/bench-database.ts';
import type { Benchmark } from './support/benchmark.ts';
import { BENCH_PROJECT, GatewayClient } from './support/gateway-client.ts';
import { childrenOf, memoryOf } from './support/machine.ts';
import { costColumns, Meter } from './support/meter.ts';
import { print, printGoal, printTable, quantile } from './support/report.ts';

const CORPUS = join(import.meta.dirname, '../examples/data/moby-dick.jsonl.br');
const TOKENS = 32;
const PROMPT = 'Call me Ishmael. Some years ago, never mind how long precisely,';

/** The demo's model, and one of 2.2 million parameters. Random weights cost what trained ones cost. */
const MODELS = {
  'demo (170 k)': { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64, vocabulary: 1_024 },
  '2.2 M': { layers: 4, heads: 4, embeddingSize: 192, contextLength: 128, vocabulary: 2_048 },
} as const;

export const serving: Benchmark = {
  name: 'serving',
  summary: 'completions of 32 tokens through gateway and GPU worker, and the canary split decision',
  options: {
    completions: { standard: 200, summary: 'completions of each model, one at a time; then as many with 8 clients' },
    keys: { standard: 1_000_000, summary: 'split decisions' },
  },
  run: (options) =>
    withDatabase({ title: 'serving' }, async (bench) => {
      decideSplits(options.number('keys'));
      await withPlatform(bench, async (client, pids) => {
        const completions = options.number('completions');
        for (const [name, sizes] of Object.entries(MODELS))
          await serveOne(bench, client, pids, name, sizes, completions);
      });
    }),
};

function decideSplits(keys: number): void {
  const split = { jobId: 'job', canaryVersion: 2, baselineVersion: 1, weightPercent: 10 };
  const began = performance.now();
  let canary = 0;
  for (let i = 0; i < keys; i++)
    if (routeRequest('demo', 'tales', { prodVersion: 1, split }, `user-${i}`)?.arm === 'canary') canary++;
  const micros = ((performance.now() - began) * 1_000) / keys;
  printGoal('split decision', micros, 'us', { atMost: 20 });
  printGoal(`share of the canary over ${keys} keys, off its 10 %`, Math.abs((100 * canary) / keys - 10), '%', {
    atMost: 0.5,
  });
}

interface Pids {
  readonly gateway: number;
  readonly gpuWorker: number;
}

async function withPlatform(
  bench: BenchDatabase,
  work: (client: GatewayClient & { readonly objects: string }, pids: Pids) => Promise<void>,
): Promise<void> {
  const home = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
  const platform = await startPlatform({
    home,
    environment: {},
    services: SERVICES.filter(({ name }) => name === 'gateway' || name === 'gpu-worker'),
    gatewayPort: 0,
    databaseUrl: bench.url,
    logLevel: 'warn',
    overrides: { gateway: { RATE_LIMIT_PER_MINUTE: '0' } },
  });
  const client = await GatewayClient.open(platform.gatewayUrl, platform.adminKeyFile, 8);
  try {
    await client.prepare('a text\n');
    const pids = { gateway: platform.process('gateway').pid, gpuWorker: platform.process('gpu-worker').pid };
    await work(Object.assign(client, { objects: platform.home.objects }), pids);
  } finally {
    client.close();
    await platform.stop();
    await rm(home, { recursive: true, force: true });
  }
}

async function serveOne(
  bench: BenchDatabase,
  client: GatewayClient & { readonly objects: string },
  pids: Pids,
  name: string,
  sizes: (typeof MODELS)[keyof typeof MODELS],
  completions: number,
): Promise<void> {
  const model = `m-${sizes.embeddingSize}`;
  await register(bench, client.objects, model, sizes);
  const ask = async (seed: number): Promise<number> => {
    const began = performance.now();
    const body = { prompt: PROMPT, maxTokens: TOKENS, seed };
    await client.call('POST', `/v1/models/${model}/completions?project=${BENCH_PROJECT}`, body);
    return performance.now() - began;
  };
  const first = await ask(0);
  const serving = childrenOf(pids.gpuWorker)[0] ?? 0;
  print(`\n${name}: first completion ${first.toFixed(0)} ms, with process start and load`);
  const rows = [];
  for (const clients of [1, 8]) {
    const meter = await Meter.start({ ...pids, serving, bench: process.pid }, bench);
    const samples: number[] = [];
    let sent = 0;
    const oneClient = async (): Promise<void> => {
      while (sent < completions) samples.push(await ask(sent++));
    };
    await Promise.all(Array.from({ length: clients }, oneClient));
    const readings = await meter.stop();
    rows.push({
      clients: String(clients),
      'completions/s': (samples.length / readings.seconds).toFixed(1),
      'p50 ms': quantile(samples, 0.5).toFixed(1),
      'p99 ms': quantile(samples, 0.99).toFixed(1),
      ...costColumns(readings, samples.length),
    });
    if (clients === 1) printGoal(`${TOKENS} tokens, p50`, quantile(samples, 0.5), 'ms', { atMost: 150 });
  }
  printTable(rows);
  print(`serving process: ${memoryOf(serving).rssMb.toFixed(0)} MB resident (RSS)`);
}

async function register(
  bench: BenchDatabase,
  objects: string,
  name: string,
  sizes: (typeof MODELS)[keyof typeof MODELS],
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-model-'));
  try {
    const trainer = bpeTrainer();
    trainer.add(readCorpus(CORPUS).toString('utf8'));
    const config = builtInConfig({ ...sizes, vocabularySize: sizes.vocabulary, endOfTextId: sizes.vocabulary - 1 });
    const tokenizer = tokenizerJson(trainer.train(sizes.vocabulary));
    await writeModelFolder(folder, config, initialWeights(config, 0.02, 1), tokenizer);
    const author = { jobId: name, activity: 'run_training', epoch: 1 };
    const store = openObjectStore(pathToFileURL(objects).href);
    const { manifestKey, digest } = await uploadFolder(store, folder, `artifacts/${BENCH_PROJECT}/${name}`, {
      createdBy: author,
    });
    const word = 'bench';
    await openModelRegistry('postgres:', { database: bench.database }).createVersion({
      project: BENCH_PROJECT,
      name,
      sourceKey: name,
      manifestKey,
      lineage: {
        jobId: word,
        runId: word,
        datasetName: word,
        datasetVersion: '1',
        datasetDigest: word,
        configDigest: word,
        codeCommit: word,
        baseModelDigest: word,
        evaluationReportDigest: word,
        manifestDigest: digest,
      },
      tags: {},
    });
    await new PostgresPromotionLedger(bench.database).promote({
      project: BENCH_PROJECT,
      model: name,
      version: 1,
      stage: 'prod',
      jobId: null,
      requestedBy: word,
      reason: '',
      atMs: Date.now(),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
