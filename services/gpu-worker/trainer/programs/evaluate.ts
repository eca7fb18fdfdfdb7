import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EvaluateSpec, EvaluationMetric, EvaluationReport, TrainerBase } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { loadTokenizer } from '#lib/text/tokenizer.ts';
import { loadTokenData, type TokenData } from '../data/token-dataset.ts';
import { metricOf } from '../eval/estimate.ts';
import { sample, samplePrompts } from '../eval/sampling.ts';
import { Subject } from '../eval/subject.ts';
import type { Suite, SuiteScores } from '../eval/suite.ts';
import { loadSuites } from '../eval/suites.ts';
import { writeDurably } from '../formats/durable-file.ts';
import { pretty } from '../formats/model-folder.ts';
import { checkEstimate, checkResidentMemory } from '../memory.ts';
import type { Gpt2Config } from '../model/gpt2.ts';
import { baseConfig, loadBase } from '../model/load-base.ts';
import type { Model } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { type BatchSize, compileNextToken } from './causal-lm.ts';
import { StopRequested } from './objective.ts';
import { StepLines } from './progress.ts';
import type { Outcome, RunContext } from './run-loop.ts';

/** Spread of random weights when an untrained model is evaluated; GPT-2's own. */
const UNTRAINED_STD = 0.02;
/** Positions scored at once: enough to keep the engine busy, little enough for the logits of a large vocabulary. */
const POSITIONS_PER_BATCH = 1024;

const EVALUATION_FILES = ['report.json', 'samples.json'] as const;

/** Scores the model, and the models it is compared with on the same items, and writes the report. Asked to stop it ends without a result. */
export async function runEvaluation(spec: EvaluateSpec, context: RunContext): Promise<Outcome> {
  const data = await loadTokenData(spec.dataDir);
  const others = [...(spec.baseline === undefined ? [] : [spec.baseline]), ...(spec.comparisons ?? [])];
  const { own, compared, length } = await contendersOf(spec, others, data);
  const size = { batch: Math.max(1, Math.floor(POSITIONS_PER_BATCH / length)), length, threads: spec.limits.threads };
  const suites = await loadSuites(spec, data, length);
  const batches = suites.reduce((sum, suite) => sum + suite.batches(size.batch), 0);
  const progress = new Progress(spec, context, batches * (1 + compared.length));

  try {
    const { scores, samples } = await scoreModel(spec, own, { suites, size, data, progress });
    const otherScores: SuiteScores[][] = [];
    for (const contender of compared)
      otherScores.push(await scoreContender(spec, contender, { suites, size, progress }));
    const metricsAgainst = (other: readonly SuiteScores[] | undefined): EvaluationMetric[] => [
      ...suites.flatMap((suite, at) => metricsOf(suite, scores[at], other?.[at])),
      ...suites.flatMap((suite) => suite.constants()),
    ];
    const baselines = spec.baseline === undefined ? 0 : 1;
    const metrics = metricsAgainst(baselines === 1 ? otherScores[0] : undefined);
    const comparisons = otherScores.slice(baselines).map((other) => ({ metrics: metricsAgainst(other) }));
    await writeReport(spec.outputDir, {
      format: 'trainyard-evaluation/1',
      metrics,
      ...(spec.comparisons === undefined ? {} : { comparisons }),
      samples,
    });
    context.send({ type: 'result', steps: progress.done, metrics: flat(metrics), files: [...EVALUATION_FILES] });
    return 'done';
  } catch (error) {
    // An evaluation has nothing to checkpoint, its next attempt starts anew.
    if (error instanceof StopRequested) return 'yielded';
    throw error;
  }
}

interface Contender {
  readonly base: TrainerBase;
  readonly config: Gpt2Config;
}

/** Every model's shape, before any weight is read, and the windows that fit all of them: unequal ones would not be paired. */
async function contendersOf(
  spec: EvaluateSpec,
  others: readonly TrainerBase[],
  { description: { tokenizer } }: TokenData,
): Promise<{ own: Contender; compared: Contender[]; length: number }> {
  const contender = async (base: TrainerBase): Promise<Contender> => ({
    base,
    config: await baseConfig(base, tokenizer),
  });
  const own = await contender(spec.model);
  const compared: Contender[] = [];
  for (const base of others) compared.push(await contender(base));
  return { own, compared, length: Math.min(...[own, ...compared].map(({ config }) => config.contextLength)) };
}

interface Scoring {
  readonly suites: readonly Suite[];
  readonly size: BatchSize;
  readonly progress: Progress;
}

/** The model lives in this function only: several at once would not fit where one does. */
async function scoreModel(
  spec: EvaluateSpec,
  contender: Contender,
  { data, ...scoring }: Scoring & { readonly data: TokenData },
): Promise<{ scores: SuiteScores[]; samples: EvaluationReport['samples'] }> {
  const model = await loadFor(spec, contender, scoring.size);
  const scores = await scoreSuites(model, scoring.suites, scoring.size, scoring.progress);
  return { scores, samples: await generateSamples(spec, model, data, scoring.progress) };
}

const scoreContender = async (spec: EvaluateSpec, contender: Contender, { suites, size, progress }: Scoring) =>
  scoreSuites(await loadFor(spec, contender, size), suites, size, progress);

function loadFor(spec: EvaluateSpec, { base, config }: Contender, size: BatchSize): Promise<Model> {
  checkEstimate(config, { ...size, copies: 1 }, spec.limits.maxMemoryMib);
  return loadBase(base, config, { std: UNTRAINED_STD, seed: derivedSeed(spec.seed, PURPOSE.weights) });
}

/** What all suites found out, in their order. */
async function scoreSuites(
  model: Model,
  suites: readonly Suite[],
  size: BatchSize,
  progress: Progress,
): Promise<SuiteScores[]> {
  const subject = new Subject(model, size);
  const scores: SuiteScores[] = [];
  for (const suite of suites) {
    scores.push(
      await suite.score(
        subject,
        () => progress.advance(),
        () => progress.keepAlive(),
      ),
    );
  }
  await subject.release();
  return scores;
}

/** Equal positions of two models are the same metric. */
function metricsOf(suite: Suite, own: SuiteScores | undefined, other: SuiteScores | undefined): EvaluationMetric[] {
  const single = own?.estimates.map((estimate, at) => metricOf(estimate, other?.estimates[at]?.estimate)) ?? [];
  if (own?.items === undefined || other?.items === undefined) return single;
  return [...single, ...(suite.compare?.(own.items, other.items) ?? []).map((estimate) => metricOf(estimate))];
}

async function generateSamples(
  spec: EvaluateSpec,
  model: Model,
  data: TokenData,
  progress: Progress,
): Promise<EvaluationReport['samples']> {
  const { contextLength, endOfTextId } = model.config;
  const prompts = samplePrompts(data.validation, endOfTextId, spec.samples.count, contextLength);
  if (prompts.length === 0) return [];
  const size = { batch: prompts.length, length: contextLength, threads: spec.limits.threads };
  const program = await compileNextToken(model, size);
  const texts = await sample(program, prompts, {
    tokens: spec.samples.tokens,
    temperature: spec.samples.temperature,
    endOfTextId,
    contextLength,
    random: mulberry32(derivedSeed(spec.seed, PURPOSE.sampling)),
    afterToken: () => progress.keepAlive(),
  });
  await program.release();
  const tokenizer = loadTokenizer(data.tokenizerJson);
  return prompts.map((prompt, index) => ({
    prompt: tokenizer.decode(prompt),
    text: tokenizer.decode(texts[index] ?? []),
  }));
}

async function writeReport(dir: string, report: EvaluationReport): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeDurably(join(dir, 'samples.json'), [pretty(report.samples)]);
  await writeDurably(join(dir, 'report.json'), [pretty(report)]);
}

/** Values by name, and `<name>.delta` where a baseline was scored. */
function flat(metrics: readonly EvaluationMetric[]): Record<string, number> {
  const values: Record<string, number> = {};
  for (const { name, value, delta } of metrics) {
    values[name] = value;
    if (delta !== undefined) values[`${name}.delta`] = delta;
  }
  return values;
}

/** Counts batches as steps, so that a worker sees a long evaluation move. */
class Progress {
  done = 0;
  private readonly lines: StepLines;
  private readonly context: RunContext;
  private readonly maxMemoryMib: number;

  constructor(spec: EvaluateSpec, context: RunContext, total: number) {
    this.lines = new StepLines(context.send, total);
    this.context = context;
    this.maxMemoryMib = spec.limits.maxMemoryMib;
  }

  advance(): void {
    this.done += 1;
    this.keepAlive();
  }

  /** Prints a line when one is due; sampling calls it without counting. */
  keepAlive(): void {
    this.lines.end({ step: this.done, tokens: 0 });
    this.lines.begin();
    if (this.context.stopRequested()) throw new StopRequested();
    checkResidentMemory(this.maxMemoryMib);
  }
}
