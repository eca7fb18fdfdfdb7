import { join } from 'node:path';
import type { DpoSpec, PpoSpec, RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { encodePreference, encodePrompt } from '#lib/datasets/encode-row.ts';
import { type SplitRow, writeTokenRows } from '#lib/datasets/row-folder-writer.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { chainDocuments, chainWords, type WrittenDataset, writeDataset } from './dataset.ts';
import { runInProcess } from './program.ts';
import { sftSpec } from './specs.ts';

/** What the tests of alignment start from. */
export interface AlignmentWorld {
  readonly dataset: WrittenDataset;
  /** A model trained for 150 steps on chain documents. */
  readonly baseDir: string;
  /** Pairs whose chosen completion is made of liked words and the rejected one of others: easy, but only on purpose. */
  readonly preferencesDir: string;
  /** Starts of chain documents. */
  readonly promptsDir: string;
}

const WORDS_OF_COMPLETION = 4;

/** Every second word of the chains is liked. */
const likedWords = (): Set<string> => new Set(chainWords().filter((_, index) => index % 2 === 0));

/** Trains the base and writes the datasets; a second or two. */
export async function alignmentWorld(folder: string): Promise<AlignmentWorld> {
  const dataset = await writeDataset(join(folder, 'data'), {
    train: chainDocuments(300, 2),
    validation: chainDocuments(30, 3),
  });
  const baseDir = join(folder, 'base');
  const hyperparameters = { maxSteps: 150, evaluateEverySteps: 0 };
  const run = await runInProcess(folder, sftSpec(folder, dataset.dir, { outputDir: baseDir, hyperparameters }));
  if (run.exitCode !== 0) throw new Error(JSON.stringify(run.messages.at(-1)));
  const preferencesDir = join(folder, 'preferences');
  await writePairs(preferencesDir, dataset, { train: 120, validation: 40, seed: 5 });
  const promptsDir = join(folder, 'prompts');
  const prompts = chainDocuments(80, 9).map(({ text }, index): SplitRow => {
    const parts = [encodePrompt(dataset.tokenizer, text.split(' ').slice(0, 3).join(' '))];
    return { split: index < 60 ? 'train' : 'validation', parts };
  });
  await writeTokenRows({ ...rowFolder(promptsDir, dataset), format: 'trainyard-prompts/1', rows: prompts });
  return { dataset, baseDir, preferencesDir, promptsDir };
}

/** Words for a completion; undefined = those of the standard pairs. */
type WordsOf = (chosen: boolean, pick: (words: readonly string[]) => string[]) => string[] | undefined;

/** Pairs after the start of a chain document; without `wordsOf` chosen completions are liked words and rejected ones others. */
export async function writePairs(
  dir: string,
  dataset: WrittenDataset,
  { train, validation, seed }: { train: number; validation: number; seed: number },
  wordsOf: WordsOf = () => undefined,
): Promise<void> {
  const random = mulberry32(seed);
  const liked = likedWords();
  const words = chainWords();
  const pick = (from: readonly string[]): string[] => pickMany(from, random);
  const rows = chainDocuments(train + validation, seed).map(({ text }, index): SplitRow => {
    const completion = (chosen: boolean): string =>
      (wordsOf(chosen, pick) ?? pick(words.filter((word) => liked.has(word) === chosen)))
        .map((word) => ` ${word}`)
        .join('');
    const prompt = text.split(' ').slice(0, 3).join(' ');
    const parts = encodePreference(dataset.tokenizer, {
      prompt,
      chosen: completion(true),
      rejected: completion(false),
    });
    return { split: index < train ? 'train' : 'validation', parts };
  });
  await writeTokenRows({ ...rowFolder(dir, dataset), format: 'trainyard-preferences/1', rows });
}

const rowFolder = (dir: string, dataset: WrittenDataset) => ({
  dir,
  sourceDigest: dataset.description.sourceDigest,
  configDigest: dataset.description.configDigest,
  tokenizerJson: dataset.tokenizerJson,
});

const pickMany = (words: readonly string[], random: RandomStream): string[] =>
  Array.from({ length: WORDS_OF_COMPLETION }, () => words[Math.floor(random.next() * words.length)] ?? '');

type Overrides<Spec extends { hyperparameters: object }> = Partial<Omit<Spec, 'hyperparameters'>> & {
  hyperparameters?: Partial<Spec['hyperparameters']>;
};

const OPTIMISER = {
  sequenceLength: 24,
  learningRate: 3e-3,
  warmupSteps: 5,
  minLearningRateRatio: 0.1,
  weightDecay: 0,
  beta1: 0.9,
  beta2: 0.99,
  gradientClip: 1,
  checkpointEverySteps: 1000,
  evaluateEverySteps: 10,
} as const;

const PAIRS = { maxSteps: 30, batchSize: 8, gradientAccumulationSteps: 1, validationPairs: 40 } as const;

function common(folder: string, { baseDir }: AlignmentWorld) {
  return {
    protocol: 'trainyard-trainer/1',
    technique: 'full',
    base: { kind: 'model', dir: baseDir },
    outputDir: join(folder, 'output'),
    checkpointDir: join(folder, 'checkpoints'),
    seed: 1,
    limits: { maxMemoryMib: 0, threads: 1 },
  } as const;
}

export const rewardSpec = (
  folder: string,
  world: AlignmentWorld,
  overrides: Overrides<RewardSpec> = {},
): RewardSpec => ({
  ...common(folder, world),
  method: 'reward',
  dataDir: world.preferencesDir,
  pooling: 'mean',
  ...overrides,
  hyperparameters: { ...OPTIMISER, ...PAIRS, ...overrides.hyperparameters },
});

export const dpoSpec = (folder: string, world: AlignmentWorld, overrides: Overrides<DpoSpec> = {}): DpoSpec => ({
  ...common(folder, world),
  method: 'dpo',
  dataDir: world.preferencesDir,
  ...overrides,
  hyperparameters: { ...OPTIMISER, ...PAIRS, beta: 0.1, ...overrides.hyperparameters },
});

export const ppoSpec = (
  folder: string,
  world: AlignmentWorld & { rewardModelDir: string },
  overrides: Overrides<PpoSpec> = {},
): PpoSpec => ({
  ...common(folder, world),
  method: 'ppo',
  dataDir: world.promptsDir,
  rewardModelDir: world.rewardModelDir,
  ...overrides,
  hyperparameters: {
    ...OPTIMISER,
    rounds: 4,
    batchSize: 16,
    numMiniBatches: 2,
    numPpoEpochs: 2,
    responseLength: 8,
    temperature: 1,
    klCoef: 0.05,
    cliprange: 0.2,
    cliprangeValue: 0.2,
    vfCoef: 0.1,
    gamma: 1,
    lam: 0.95,
    validationPrompts: 20,
    ...overrides.hyperparameters,
  },
});
