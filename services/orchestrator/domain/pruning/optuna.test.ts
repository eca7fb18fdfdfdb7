import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import type { Direction } from '#lib/search-space/trial.ts';
import { evolvePruning, startPruning } from './pruning.ts';
import type { PruningEvent, PruningPolicy } from './pruning-event.ts';
import type { StoredNumber } from './stored-number.ts';

/** A history as `scripts/hpo/optuna_reference.py` writes it; the last member of a report is what Optuna decided. */
interface History {
  readonly direction: Direction;
  readonly settings: PruningSettings;
  readonly events: readonly (
    | readonly ['report', trial: number, step: number, value: StoredNumber, pruned: boolean]
    | readonly ['end', trial: number, outcome: 'completed' | 'failed']
  )[];
}

const SCRIPT = join(import.meta.dirname, '../../../../scripts/hpo/optuna_reference.py');
const HISTORIES = 10_000;
const SEED = 20_261_126;

describe('as Optuna 5.0.0 prunes', () => {
  it('the committed histories, every decision', () => {
    const histories = read(readFileSync(join(import.meta.dirname, 'golden/optuna-histories.jsonl'), 'utf8'));
    expect(histories.length).toBe(400);
    compare(histories);
  });

  const python = optunaPython();
  if (python === null)
    console.log('not run: comparison with Optuna itself: `npm run peers -- optuna`, or TEST_OPTUNA_PYTHON that has it');
  it.skipIf(python === null)(
    `${HISTORIES} random histories of the real package, every decision`,
    { timeout: 600_000 },
    async () => {
      const args = [SCRIPT, 'pruning', '--count', String(HISTORIES), '--seed', String(SEED)];
      const { stdout } = await promisify(execFile)(python as string, args, { maxBuffer: 256 * 1_024 * 1_024 });
      const histories = read(stdout);
      expect(histories.length).toBe(HISTORIES);
      compare(histories);
    },
  );
});

describe('five completed trials with .5 .6 .7 .8 .9 at step 3', () => {
  const completed: PruningEvent[] = [0.5, 0.6, 0.7, 0.8, 0.9].flatMap((value, trial) => [
    { type: 'report', trial, step: 3, value } as const,
    { type: 'ended', trial, outcome: 'completed' } as const,
  ]);
  const common = { warmUpSteps: 0, everySteps: 1, startupTrials: 5, minimumPeers: 1 };
  const median: PruningSettings = { strategy: 'median', ...common };
  const percentile: PruningSettings = { strategy: 'percentile', percentile: 25, ...common };

  it.each<[PruningPolicy, number, boolean]>([
    [{ settings: median, direction: 'maximize' }, 0.7, false],
    [{ settings: median, direction: 'maximize' }, 0.6999, true],
    [{ settings: percentile, direction: 'maximize' }, 0.8, false],
    [{ settings: percentile, direction: 'maximize' }, 0.7999, true],
    [{ settings: percentile, direction: 'minimize' }, 0.6, false],
    [{ settings: percentile, direction: 'minimize' }, 0.6001, true],
  ])('%j: %d is pruned: %s', (policy, value, prune) => {
    expect(decisionsOf(policy, [...completed, { type: 'report', trial: 9, step: 3, value }]).at(-1)?.prune).toBe(prune);
  });

  it('four are too few', () => {
    const policy: PruningPolicy = { settings: median, direction: 'maximize' };
    const events: PruningEvent[] = [...completed.slice(0, 8), { type: 'report', trial: 9, step: 3, value: 0 }];
    expect(decisionsOf(policy, events).at(-1)).toMatchObject({ prune: false, evidence: { reason: 'TooFewCompleted' } });
  });

  it('warm-up 5, interval 10, reports at 3, 9, 17, 18, 26: checks at 9, 17, 26', () => {
    const policy: PruningPolicy = { settings: { ...median, warmUpSteps: 5, everySteps: 10 }, direction: 'maximize' };
    const reports = [3, 9, 17, 18, 26].map((step) => ({ type: 'report', trial: 9, step, value: 1 }) as const);
    expect(decisionsOf(policy, reports).map(({ evidence }) => evidence.step)).toEqual([9, 17, 26]);
  });
});

function decisionsOf(policy: PruningPolicy, events: readonly PruningEvent[]) {
  let state = startPruning(policy);
  return events.flatMap((event) => {
    const step = evolvePruning(policy, state, event);
    state = step.state;
    return step.decisions;
  });
}

function compare(histories: readonly History[]): void {
  const counts = { pruned: 0, kept: 0, strategies: new Set<string>() };
  const different: string[] = [];
  for (const [i, { direction, settings, events }] of histories.entries()) {
    const policy = { settings, direction };
    let state = startPruning(policy);
    counts.strategies.add(settings.strategy);
    for (const [e, event] of events.entries()) {
      const step = evolvePruning(policy, state, toldAs(event));
      state = step.state;
      const prune = step.decisions.some((decision) => decision.prune);
      const theirs = event[0] === 'report' && event[4];
      if (prune !== theirs || step.ignored !== null)
        different.push(`history ${i} (${JSON.stringify(settings)}, ${direction}), event ${e}: Optuna says ${theirs}`);
      if (event[0] === 'report') counts[prune ? 'pruned' : 'kept']++;
    }
  }
  expect(different.slice(0, 5)).toEqual([]);
  // Both answers have to occur often, or equality says nothing.
  expect(counts.pruned).toBeGreaterThan(histories.length / 2);
  expect(counts.kept).toBeGreaterThan(histories.length);
  expect(counts.strategies).toEqual(new Set(['median', 'percentile', 'asha']));
}

function toldAs(event: History['events'][number]): PruningEvent {
  if (event[0] === 'end') return { type: 'ended', trial: event[1], outcome: event[2] };
  return { type: 'report', trial: event[1], step: event[2], value: event[3] };
}

const read = (lines: string): History[] =>
  lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as History);

/** The Python of `TEST_OPTUNA_PYTHON`, or of a virtual environment in the cache of the peers; null when there is none. */
function optunaPython(): string | null {
  const named = process.env['TEST_OPTUNA_PYTHON'];
  if (named !== undefined && named !== '') return named;
  const cache = process.env['PEERS_CACHE'] ?? join(homedir(), '.cache/trainyard/peers');
  const python = join(cache, 'optuna-5.0.0', 'venv', 'bin', 'python');
  return existsSync(python) ? python : null;
}
