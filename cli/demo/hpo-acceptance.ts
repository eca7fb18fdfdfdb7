import type { HpoResult } from './hpo-answers.ts';
import { runSweep, type Sweep, TRIALS } from './hpo-sweep.ts';
import type { Run } from './run-job.ts';
import { indented, prose, section } from './summary-parts.ts';
import { configurationText } from './sweep-display.ts';
import { table } from './table.ts';
import { type Line, span } from './text-style.ts';
import type { Told } from './variant.ts';

/** What pruning has to save of the training steps at least, with the best configuration kept. */
const LEAST_SAVED = 0.3;

/** One seed: the same configurations, with and without pruning. */
export interface SeedFigures {
  readonly seed: number;
  readonly stepsAll: number;
  readonly stepsPruned: number;
  readonly savedFraction: number;
  readonly gpuSecondsAll: number;
  readonly gpuSecondsPruned: number;
  readonly bestAll: HpoResult['best'];
  readonly bestPruned: HpoResult['best'];
  readonly bestKept: boolean;
}

/** Runs every search twice, and says what pruning saved and whether it lost the best configuration. */
export async function acceptance(
  run: Run,
  { seeds, steps }: { readonly seeds: number; readonly steps: number },
): Promise<Told> {
  const figures: SeedFigures[] = [];
  const { scene } = run;
  for (let seed = 1; seed <= seeds; seed++) {
    const of = `seed ${seed} of ${seeds}`;
    const all = await runSweep(run, { seed, pruned: false, steps, heading: `Search without pruning, ${of}` });
    const pruned = await runSweep(run, { seed, pruned: true, steps, heading: `Search with pruning, ${of}` });
    scene.phases.push({ name: `seed ${seed}, no pruning`, seconds: all.wallSeconds });
    scene.phases.push({ name: `seed ${seed}, pruning`, seconds: pruned.wallSeconds });
    figures.push(figuresOf(seed, all, pruned));
  }
  return {
    report: { trials: TRIALS, stepsOfATrial: steps, seeds: figures },
    summary: (columns) => [
      ...section(
        `${TRIALS} trials of ${steps} steps, each search with and without pruning`,
        indented(figuresTable(figures)),
      ),
      [],
      ...prose(
        figures.map(({ seed, bestPruned }) => `seed ${seed}: ${configurationText(bestPruned.configuration)}`),
        columns,
      ),
    ],
    furtherPaths: ['/v1/jobs?type=hpo'],
    unmet: figures.flatMap(unmetOf),
  };
}

function figuresOf(seed: number, all: Sweep, pruned: Sweep): SeedFigures {
  const [stepsAll, stepsPruned] = [all.result.savings.stepsRun, pruned.result.savings.stepsRun];
  return {
    seed,
    stepsAll,
    stepsPruned,
    savedFraction: 1 - stepsPruned / stepsAll,
    gpuSecondsAll: all.result.savings.gpuSecondsUsed,
    gpuSecondsPruned: pruned.result.savings.gpuSecondsUsed,
    bestAll: all.result.best,
    bestPruned: pruned.result.best,
    bestKept: all.result.best.number === pruned.result.best.number,
  };
}

function figuresTable(figures: readonly SeedFigures[]): Line[] {
  const head = ['seed', 'steps', 'pruned', 'saved', 'GPU s', 'pruned', 'best', 'pruned', ''];
  const rows = figures.map((of) => [
    String(of.seed),
    String(of.stepsAll),
    String(of.stepsPruned),
    `${(100 * of.savedFraction).toFixed(1)} %`,
    of.gpuSecondsAll.toFixed(0),
    of.gpuSecondsPruned.toFixed(0),
    `${of.bestAll.value.toFixed(4)} (trial ${of.bestAll.number})`,
    `${of.bestPruned.value.toFixed(4)} (trial ${of.bestPruned.number})`,
    of.bestKept ? span('kept', 'good') : span('lost', 'bad'),
  ]);
  return table(
    [head.map((title) => span(title, 'faint')), ...rows],
    head.map(() => 'right' as const),
  );
}

function unmetOf({ seed, savedFraction, bestKept }: SeedFigures): string[] {
  return [
    ...(savedFraction >= LEAST_SAVED
      ? []
      : [
          `seed ${seed}: pruning saved ${(100 * savedFraction).toFixed(1)} % of the steps, less than ${100 * LEAST_SAVED} %`,
        ]),
    ...(bestKept ? [] : [`seed ${seed}: pruning lost the best configuration`]),
  ];
}
