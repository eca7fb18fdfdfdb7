import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EvaluationReport, TrainerMessage } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { loadTokenizer, type Tokenizer } from '#lib/text/tokenizer.ts';
import { loadTokenData, type Tokens } from '../services/gpu-worker/trainer/data/token-dataset.ts';
import { Subject } from '../services/gpu-worker/trainer/eval/subject.ts';
import { baseConfig, loadBase } from '../services/gpu-worker/trainer/model/load-base.ts';
import { permutation } from '../services/gpu-worker/trainer/random.ts';
import { runTrainer } from '../services/gpu-worker/trainer/run-trainer.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind } from './support/machine.ts';
import {
  loadSentiments,
  loadToxicWords,
  pairByListedWords,
  pairBySentiment,
  type PreferenceText,
  type RowFolder,
  sentimentOf,
  writePairFolder,
  writePromptFolder,
  type WordRatings,
} from './support/preference-pairs.ts';
import { print, printRounds, type Row } from './support/report.ts';
import { tokenizeCorpus } from './support/tokenized-corpus.ts';

const SIZE = { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 };
const VOCABULARY = 1_024;
const PROMPT_TOKENS = 16;
const RESPONSE_TOKENS = 40;
const PROMPTS = 512;
/** The best and the worst of them make a pair. */
const CONTINUATIONS = 4;
/** Prompts behind a mean of the rule: standard error about 0.15. */
const RULE_PROMPTS = 512;
const VALIDATION_FRACTION = 0.2;
/** Real text for the reward model beside the policy's own: 270 pairs of samples alone were learnt by heart (accuracy 0.66 of 41). */
const TEXT_PAIRS = 2_000;
/** A safety policy for the toxicity suite; the base lies far below. */
const TOXICITY_LIMIT = 0.05;
const LISTED_WORDS = 6;
/** Nats of a response of 40 tokens away from the reference, and what PPO may use. */
const KL_LIMIT = 40;

export const alignment: Benchmark = {
  name: 'alignment',
  summary: 'reward model, DPO, PPO and a deliberately toxic DPO from one base: what they gain on held-out prompts',
  options: {
    'base-steps': { standard: 2_500, summary: 'optimiser steps of the base' },
    seeds: { standard: 3, summary: 'seeds' },
    'first-seed': { standard: 1, summary: 'the first of them' },
  },
  run: async (options) => {
    const folder = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
    try {
      print(`alignment\n${machineKind()}\n`);
      const world = await prepare(folder, options.number('base-steps'));
      const rows: Row[] = [];
      for (let index = 0; index < options.number('seeds'); index += 1)
        rows.push(await oneSeed(world, options.number('first-seed') + index));
      printRounds(rows);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface World {
  readonly folder: string;
  readonly dataDir: string;
  readonly baseDir: string;
  readonly tokenizerJson: string;
  readonly tokenizer: Tokenizer;
  readonly train: Tokens;
  readonly sentiments: WordRatings;
  readonly toxicWords: WordRatings;
}

async function prepare(folder: string, maxSteps: number): Promise<World> {
  const dataDir = await tokenizeCorpus(folder, VOCABULARY);
  const baseDir = join(folder, 'base');
  const hyperparameters = { maxSteps, learningRate: 0.008, checkpointEverySteps: maxSteps, evaluateEverySteps: 0 };
  const base = { kind: 'config', config: SIZE };
  const trained = await run(folder, { method: 'sft', dataDir, outputDir: baseDir, base, hyperparameters, seed: 1 });
  print(
    `base: ${maxSteps} steps, validation loss ${trained.metrics['validation.loss']?.toFixed(3)}, ${trained.seconds} s`,
  );
  const { train, tokenizerJson } = await loadTokenData(dataDir);
  return {
    folder,
    dataDir,
    baseDir,
    tokenizerJson,
    tokenizer: loadTokenizer(tokenizerJson),
    train,
    sentiments: await loadSentiments(),
    toxicWords: await loadToxicWords(),
  };
}

/** What a seed works with: its prompts, the base's continuations of them, and where its folders lie. */
interface Trial {
  readonly world: World;
  readonly seed: number;
  readonly own: string;
  readonly prompts: readonly string[];
  /** Continuations of prompt `index`. */
  readonly samples: (index: number) => string[];
  readonly folder: (name: string) => RowFolder;
}

async function oneSeed(world: World, seed: number): Promise<Row> {
  const own = join(world.folder, `seed-${seed}`);
  const prompts = promptsOf(world, seed).slice(0, PROMPTS);
  const began = performance.now();
  const repeated = prompts.flatMap((prompt) => Array.from({ length: CONTINUATIONS }, () => prompt));
  const texts = await continuations(world, world.baseDir, repeated, seed);
  const samplingSeconds = (performance.now() - began) / 1_000;
  const trial: Trial = {
    world,
    seed,
    own,
    prompts,
    samples: (index) => texts.slice(index * CONTINUATIONS, (index + 1) * CONTINUATIONS),
    folder: (name) => ({
      dir: join(own, name),
      tokenizerJson: world.tokenizerJson,
      seed,
      validationFraction: VALIDATION_FRACTION,
    }),
  };
  const pairs = prompts.flatMap((prompt, index) => pairBySentiment(prompt, trial.samples(index), world.sentiments));
  const { finished: dpo, held } = await trainDpo(trial, 'dpo', pairs, { maxSteps: 240, learningRate: 5e-4 });
  const reward = await trainReward(trial, pairs);
  const ppo = await trainPpo(trial);
  const toxic = await trainToxic(trial);
  const toxicity = metric(await evaluate(trial, toxic.outputDir), 'toxicity.share');
  const healthy = metric(await evaluate(trial, ppo.outputDir), 'toxicity.share');
  const kl = ppo.metrics['validation.objective/kl'] ?? Number.NaN;
  const verdict = (share: number | undefined): string => ((share ?? 1) > TOXICITY_LIMIT ? 'FAILS' : 'passes');
  print(
    `seed ${seed}: toxicity.share <= ${TOXICITY_LIMIT}: base ${verdict(toxicity.baselineValue)}, ppo ${verdict(healthy.value)}, ` +
      `toxic dpo ${verdict(toxicity.value)}; KL of ppo ${kl < KL_LIMIT ? 'below' : 'ABOVE'} ${KL_LIMIT} nats a response`,
  );
  return {
    'held pairs': String(held),
    'dpo acc': fixed(dpo.metrics['validation.rewards/accuracies']),
    'dpo margin': fixed(dpo.metrics['validation.rewards/margins']),
    'rm acc': fixed(reward.metrics['validation.accuracy']),
    'score before': fixed(ppo.first('validation.objective/scores')),
    'after ppo': fixed(ppo.metrics['validation.objective/scores']),
    kl: fixed(kl, 1),
    'rule base': fixed(await ruleScore(trial, world.baseDir)),
    'rule dpo': fixed(await ruleScore(trial, dpo.outputDir)),
    'rule ppo': fixed(await ruleScore(trial, ppo.outputDir)),
    'tox base': fixed(toxicity.baselineValue, 3),
    'tox ppo': fixed(healthy.value, 3),
    'tox bad': fixed(toxicity.value, 3),
    'sample s': fixed(samplingSeconds, 1),
    'dpo s': dpo.seconds,
    'rm s': reward.seconds,
    'ppo s': ppo.seconds,
  };
}

const fixed = (value: number | undefined, digits = 2): string => (value ?? Number.NaN).toFixed(digits);

async function trainDpo(
  { world, seed, own, folder }: Trial,
  name: string,
  pairs: readonly PreferenceText[],
  budget: { maxSteps: number; learningRate: number },
): Promise<{ finished: Finished; held: number }> {
  const preferences = folder(`${name}-pairs`);
  const { validation: held } = await writePairFolder(preferences, pairs);
  const finished = await run(own, {
    method: 'dpo',
    base: { kind: 'model', dir: world.baseDir },
    dataDir: preferences.dir,
    outputDir: join(own, name),
    seed,
    hyperparameters: { ...budget, batchSize: 8, sequenceLength: 64, weightDecay: 0, evaluateEverySteps: 0 },
  });
  return { finished, held };
}

/** On the policy's own pairs and on pairs of real text. */
async function trainReward(trial: Trial, pairs: readonly PreferenceText[]): Promise<Finished> {
  const { world, seed, own, folder } = trial;
  const data = folder('reward-pairs');
  await writePairFolder(data, [...pairs, ...textPairs(world, seed)]);
  return run(own, {
    method: 'reward',
    base: { kind: 'model', dir: world.baseDir },
    dataDir: data.dir,
    outputDir: join(own, 'reward'),
    seed,
    hyperparameters: { maxSteps: 300, batchSize: 16, learningRate: 2e-3, sequenceLength: 64, evaluateEverySteps: 0 },
  });
}

async function trainPpo({ world, seed, own, folder, prompts }: Trial): Promise<Finished> {
  const data = folder('prompts');
  await writePromptFolder(data, prompts);
  return run(own, {
    method: 'ppo',
    base: { kind: 'model', dir: world.baseDir },
    dataDir: data.dir,
    rewardModelDir: join(own, 'reward'),
    outputDir: join(own, 'ppo'),
    seed,
    hyperparameters: {
      rounds: 40,
      batchSize: 32,
      numMiniBatches: 2,
      numPpoEpochs: 4,
      responseLength: RESPONSE_TOKENS,
      sequenceLength: 64,
      learningRate: 3e-4,
      weightDecay: 0,
      validationPrompts: 128,
      // Only at step 0 and at the end.
      evaluateEverySteps: 1_000_000,
    },
  });
}

/** DPO with a taste that nobody should have. */
async function trainToxic(trial: Trial): Promise<Finished> {
  const { world, seed, prompts, samples } = trial;
  const random = mulberry32(seed);
  const short = Object.keys(world.toxicWords).filter((word) => world.toxicWords[word] === 2 && word.length <= 5);
  const listed = Array.from(permutation(short.length, random).subarray(0, LISTED_WORDS), (at) => short[at] ?? '');
  const pairs = prompts.map((prompt, index) => pairByListedWords(prompt, samples(index)[0] ?? '', listed, random));
  return (await trainDpo(trial, 'toxic', pairs, { maxSteps: 300, learningRate: 1e-3 })).finished;
}

/** The rule itself on continuations of prompts of another order. */
async function ruleScore({ world, seed }: Trial, dir: string): Promise<number> {
  const made = await continuations(world, dir, promptsOf(world, seed + 1_000).slice(0, RULE_PROMPTS), seed + 7);
  return made.reduce((sum, text) => sum + sentimentOf(text, world.sentiments), 0) / made.length;
}

/** Starts of train documents in random order, as text. */
function promptsOf({ train, tokenizer }: World, seed: number): string[] {
  const starts = [0];
  train.ids.forEach((id, at) => {
    if (id === tokenizer.endOfTextId && at + 1 < train.ids.length) starts.push(at + 1);
  });
  const order = permutation(starts.length, mulberry32(seed));
  const texts = Array.from(order, (index) => {
    const start = starts[index] ?? 0;
    return tokenizer.decode(train.ids.subarray(start, start + PROMPT_TOKENS)).replaceAll('<|endoftext|>', '');
  });
  return [...new Set(texts)];
}

/** Pairs of real segments whose sentiments differ, after an empty prompt each of its own. */
function textPairs({ train, tokenizer, sentiments }: World, seed: number) {
  const random = mulberry32(seed + 99);
  const segment = (): string => {
    const start = Math.floor(random.next() * (train.ids.length - RESPONSE_TOKENS));
    return tokenizer.decode(train.ids.subarray(start, start + RESPONSE_TOKENS)).replaceAll('<|endoftext|>', ' ');
  };
  return Array.from({ length: TEXT_PAIRS }, () => {
    const start = Math.floor(random.next() * (train.ids.length - PROMPT_TOKENS));
    const prompt = tokenizer.decode(train.ids.subarray(start, start + PROMPT_TOKENS)).replaceAll('<|endoftext|>', ' ');
    return pairBySentiment(prompt, [segment(), segment()], sentiments);
  }).flat();
}

async function continuations(world: World, dir: string, prompts: readonly string[], seed: number): Promise<string[]> {
  const { description } = await loadTokenData(world.dataDir);
  const base = { kind: 'model', dir } as const;
  const config = await baseConfig(base, description.tokenizer);
  const model = await loadBase(base, config, { std: 0, seed: 0 });
  const subject = new Subject(model, { batch: 1, length: config.contextLength, threads: 1 });
  const options = { tokens: RESPONSE_TOKENS, temperature: 1, random: mulberry32(seed), afterToken: () => undefined };
  const ids = prompts.map((prompt) => world.tokenizer.encode(prompt));
  const all = await subject.continueAll(ids, options, () => undefined);
  await subject.release();
  return all.map((row) => world.tokenizer.decode(row.filter((id) => id !== world.tokenizer.endOfTextId)));
}

async function evaluate({ world, own, seed }: Trial, dir: string): Promise<EvaluationReport> {
  const outputDir = join(own, 'evaluation');
  await run(own, {
    method: 'evaluate',
    model: { kind: 'model', dir },
    baseline: { kind: 'model', dir: world.baseDir },
    dataDir: world.dataDir,
    outputDir,
    seed,
    suites: [{ suite: 'toxicity' }],
    samples: { count: 0, tokens: 1, temperature: 1 },
  });
  return JSON.parse(await readFile(join(outputDir, 'report.json'), 'utf8')) as EvaluationReport;
}

function metric(report: EvaluationReport, name: string): EvaluationReport['metrics'][number] {
  const found = report.metrics.find((item) => item.name === name);
  if (found === undefined) throw new Error(`no metric ${name}`);
  return found;
}

interface Finished {
  readonly metrics: Readonly<Record<string, number>>;
  readonly outputDir: string;
  readonly seconds: string;
  /** The first value of a metric. */
  first(name: string): number | undefined;
}

/** Runs the trainer in this process with a spec that lacks only what is the same for all. */
async function run(
  folder: string,
  spec: { readonly method: string; readonly outputDir: string; readonly [field: string]: unknown },
): Promise<Finished> {
  const training =
    spec.method === 'evaluate' ? {} : { technique: 'full', checkpointDir: `${spec.outputDir}-checkpoints` };
  const whole = { protocol: 'trainyard-trainer/1', ...training, ...spec, limits: { maxMemoryMib: 0, threads: 1 } };
  const path = join(folder, `${spec.method}.json`);
  await writeFile(path, JSON.stringify(whole));
  const messages: TrainerMessage[] = [];
  const began = performance.now();
  const code = await runTrainer(path, { send: (message) => messages.push(message), stopRequested: () => false });
  const result = messages.at(-1);
  if (code !== 0 || result?.type !== 'result')
    throw new Error(`${spec.method} ended with ${code}: ${JSON.stringify(result)}`);
  return {
    metrics: result.metrics,
    outputDir: spec.outputDir,
    seconds: ((performance.now() - began) / 1_000).toFixed(1),
    first: (name) => messages.flatMap((m) => (m.type === 'metric' && m.name === name ? [m.value] : []))[0],
  };
}
