import type { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import { learningCurves, runSweep } from '../test/support/learning-curves.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind } from './support/machine.ts';
import { median, print, printGoal, printTable, quantile } from './support/report.ts';

const CHECKS = { warmUpSteps: 5, everySteps: 5, minimumTrials: 4 } as const;
const COMPLETED = { warmUpSteps: 0, everySteps: 1, startupTrials: 5, minimumPeers: 1 } as const;
const STRATEGIES: readonly PruningSettings[] = [
  { strategy: 'livePercentile', drop: 0.25, ...CHECKS },
  { strategy: 'liveMedian', ...CHECKS },
  { strategy: 'asha', minimumSteps: 5, reductionFactor: 3 },
  { strategy: 'median', ...COMPLETED },
  { strategy: 'percentile', percentile: 25, ...COMPLETED },
];
/** Lengths and noise beside the ones asked for: where a strategy is good and where it starts to lose the best trial. */
const OTHER_STEPS = [20, 30, 50, 100];
const OTHER_NOISE = [0.01, 0.03];

interface Measured {
  readonly strategy: string;
  readonly saved: readonly number[];
  readonly regret: readonly number[];
  readonly decisionMicros: number;
}

export const pruning: Benchmark = {
  name: 'pruning',
  summary: 'steps saved and regret of each pruning strategy on synthetic learning curves, every trial running at once',
  options: {
    trials: { standard: 64, summary: 'trials, all of them running' },
    steps: { standard: 50, summary: 'planned steps of each' },
    noise: { standard: 0.01, summary: 'standard deviation of the noise on each loss' },
    seeds: { standard: 40, summary: 'curve sets' },
  },
  run: async (options) => {
    const [trials, seeds] = [options.number('trials'), options.number('seeds')];
    print(`pruning: ${trials} of ${trials} trials running, ${seeds} curve sets (test/support/learning-curves.ts)`);
    print(`${machineKind()}\n`);
    const asked = measureAll(trials, options.number('steps'), options.number('noise'), seeds);
    printTable(asked.map(rowOf));
    const live = asked.find(({ strategy }) => strategy === 'livePercentile');
    if (live === undefined) throw new Error('livePercentile was not measured');
    print('');
    printGoal('livePercentile, least saved of all sets', 100 * Math.min(...live.saved), '%', { atLeast: 40 });
    printGoal('livePercentile, largest regret of all sets', Math.max(...live.regret), 'loss', { atMost: 0 });
    print('\nother lengths and noise');
    printTable(
      OTHER_STEPS.flatMap((steps) =>
        OTHER_NOISE.flatMap((noise) =>
          measureAll(trials, steps, noise, seeds)
            .filter(({ strategy }) => strategy !== 'percentile')
            .map((measured) => ({ steps: String(steps), noise: String(noise), ...rowOf(measured) })),
        ),
      ),
    );
  },
};

function measureAll(trials: number, steps: number, noise: number, seeds: number): Measured[] {
  const sets = Array.from({ length: seeds }, (_, i) => learningCurves(i + 1, trials, steps, noise));
  return STRATEGIES.map((settings) => {
    const before = process.cpuUsage();
    const outcomes = sets.map((set, i) => runSweep({ settings, direction: 'minimize' }, set, i + 1));
    const { user, system } = process.cpuUsage(before);
    const reports = outcomes.reduce((sum, { savedFraction }) => sum + (1 - savedFraction) * trials * steps, 0);
    return {
      strategy: settings.strategy,
      saved: outcomes.map(({ savedFraction }) => savedFraction),
      regret: outcomes.map(({ regret }) => regret),
      decisionMicros: (user + system) / reports,
    };
  });
}

function rowOf({ strategy, saved, regret, decisionMicros }: Measured): Record<string, string> {
  const percent = (share: number): string => (100 * share).toFixed(0);
  const mean = regret.reduce((a, b) => a + b, 0) / regret.length;
  return {
    strategy,
    'saved % least': percent(Math.min(...saved)),
    median: percent(median(saved)),
    most: percent(Math.max(...saved)),
    'sets with regret': String(regret.filter((each) => each > 0).length),
    'regret mean': mean.toFixed(4),
    p90: quantile(regret, 0.9).toFixed(4),
    largest: Math.max(...regret).toFixed(4),
    'CPU us/report': decisionMicros.toFixed(1),
  };
}
