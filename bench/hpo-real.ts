import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { SeedFigures } from '../cli/demo/hpo-acceptance.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind } from './support/machine.ts';
import { print, printGoal, printTable } from './support/report.ts';

const PROGRAM = resolve(import.meta.dirname, '../cli/main.ts');

export const hpoReal: Benchmark = {
  name: 'hpo-real',
  summary: 'real searches on the whole platform, each with and without pruning: steps saved, best configuration kept',
  options: {
    seeds: { standard: 3, summary: 'searches' },
    steps: { standard: 320, summary: 'training steps of a trial' },
  },
  run: async (options) => {
    const home = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
    try {
      print(`hpo-real\n${machineKind()}\n`);
      const figures = await searches(home, options.number('seeds'), options.number('steps'));
      printTable(
        figures.map((of) => ({
          seed: String(of.seed),
          'steps, all': String(of.stepsAll),
          'steps, pruned': String(of.stepsPruned),
          'saved %': (100 * of.savedFraction).toFixed(1),
          'GPU s, all': of.gpuSecondsAll.toFixed(0),
          'GPU s, pruned': of.gpuSecondsPruned.toFixed(0),
          'best loss, all': of.bestAll.value.toFixed(4),
          'best loss, pruned': of.bestPruned.value.toFixed(4),
          'best trial': of.bestKept ? `${of.bestAll.number}, kept` : `${of.bestAll.number}, lost`,
        })),
      );
      printGoal('least saved of all seeds', 100 * Math.min(...figures.map(({ savedFraction }) => savedFraction)), '%', {
        atLeast: 30,
      });
      printGoal('seeds that lost the best configuration', figures.filter(({ bestKept }) => !bestKept).length, 'seeds', {
        atMost: 0,
      });
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  },
};

/** Exit code 1 says that a figure is not as promised: the table shows which. */
async function searches(home: string, seeds: number, steps: number): Promise<SeedFigures[]> {
  const args = ['demo', 'hpo', '--json', '--home', home, '--seeds', String(seeds), '--trial-steps', String(steps)];
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const output = await text(child.stdout);
  await exited;
  if (output === '') throw new Error('the searches did not end');
  return (JSON.parse(output) as { seeds: SeedFigures[] }).seeds;
}
