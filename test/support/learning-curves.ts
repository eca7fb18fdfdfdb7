import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { evolvePruning, type PruningState, startPruning } from '../../services/orchestrator/domain/pruning/pruning.ts';
import type { PruningDecision, PruningPolicy } from '../../services/orchestrator/domain/pruning/pruning-event.ts';

export interface CurveSet {
  /** Losses by trial and step: `curves[t][s - 1]` is reported at step s. */
  readonly curves: readonly (readonly number[])[];
  readonly steps: number;
}

/**
 * Synthetic learning curves: loss(s) = floor + height * s^-rate + noise. floor is exponential with mean 0.25 (a few good trials, a
 * long tail of bad ones), height uniform in [0.5, 2], rate uniform in [0.3, 1.2] and independent of the floor: slow starters with a
 * low floor cross fast ones with a high floor. Noise is normal with standard deviation `noise`.
 */
export function learningCurves(seed: number, trials: number, steps: number, noise = 0.01): CurveSet {
  const random = mulberry32(seed);
  const curves = Array.from({ length: trials }, () => {
    const floor = -0.25 * Math.log(1 - random.next());
    const height = 0.5 + 1.5 * random.next();
    const rate = 0.3 + 0.9 * random.next();
    return Array.from({ length: steps }, (_, s) => floor + height * (s + 1) ** -rate + noise * normal(random));
  });
  return { curves, steps };
}

export interface SweepOutcome {
  readonly savedFraction: number;
  /** Lowest final loss among all curves, and among those that ran to the end: their difference is what pruning cost. */
  readonly regret: number;
  readonly pruned: readonly number[];
  readonly decisions: readonly PruningDecision[];
  readonly state: PruningState;
}

/**
 * Runs all trials of a set at once: every trial takes a step, in an order that is drawn anew for each step, and reports it. Final loss
 * is the last value of a curve. `between` sees the state after every event and gives the one to go on with.
 */
export function runSweep(
  policy: PruningPolicy,
  set: CurveSet,
  orderSeed: number,
  between: (state: PruningState) => PruningState = (state) => state,
): SweepOutcome {
  const random = mulberry32(orderSeed);
  const sign = policy.direction === 'minimize' ? 1 : -1;
  let state = startPruning(policy);
  const decisions: PruningDecision[] = [];
  let running = set.curves.map((_, trial) => trial);
  let stepsRun = 0;
  for (let step = 1; step <= set.steps; step++) {
    for (const trial of shuffled(running, random)) {
      stepsRun++;
      const value = sign * (set.curves[trial]?.[step - 1] as number);
      const folded = evolvePruning(policy, state, { type: 'report', trial, step, value, plannedSteps: set.steps });
      state = between(folded.state);
      decisions.push(...folded.decisions);
      if (folded.decisions.some(({ prune }) => prune)) running = running.filter((each) => each !== trial);
    }
  }
  const finals = set.curves.map((curve) => curve.at(-1) as number);
  const kept = running.map((trial) => finals[trial] as number);
  return {
    savedFraction: 1 - stepsRun / (set.curves.length * set.steps),
    regret: Math.min(...kept) - Math.min(...finals),
    pruned: finals.flatMap((_, trial) => (running.includes(trial) ? [] : [trial])),
    decisions,
    state,
  };
}

function shuffled(values: readonly number[], random: RandomStream): number[] {
  const result = [...values];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [result[i], result[j]] = [result[j] as number, result[i] as number];
  }
  return result;
}

/** Box and Muller's method; one number of the two. */
function normal(random: RandomStream): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}
