import type { Configuration } from '#lib/search-space/configuration.ts';
import type { Trial } from '#lib/search-space/trial.ts';
import type { TrialUsage } from '../pruning/savings.ts';
import type { PruningDecision } from '../pruning/pruning-event.ts';
import type { PruningState } from '../pruning/pruning.ts';

/** One trial of a search as its parent knows it. */
export interface SweepTrial {
  readonly number: number;
  readonly configuration: Configuration;
  readonly standing: 'running' | 'pruned' | 'completed' | 'failed' | 'cancelled';
  /** Of a pruned trial: nothing of it runs any more, its slot is free. */
  readonly atRest: boolean;
  /** The objective of a completed trial; null when it has none. */
  readonly value: number | null;
  readonly lastReport: { readonly step: number; readonly value: number | null } | null;
  readonly plannedSteps: number;
  readonly steps: number;
  readonly gpuSeconds: number;
  readonly jobId: string;
  /** Why it has no value, for people. */
  readonly reason: string | null;
}

/** Everything a search decides by. Plain JSON: it lies in the parent's log as the facts it follows from, and in its snapshot. */
export interface SweepState {
  readonly trials: readonly SweepTrial[];
  /** Calls of `generate_trial_configs` so far. */
  readonly calls: number;
  /** A call is under way. */
  readonly asking: boolean;
  readonly exhausted: boolean;
  readonly pruning: PruningState;
  /** The decisions that stopped a trial, with their evidence, in their order. */
  readonly prunings: readonly PruningDecision[];
}

/** Trials as samplers and summaries see them. */
export const historyOf = ({ trials }: SweepState): Trial[] =>
  trials.map(({ number, configuration, standing, value, lastReport }) => ({
    number,
    configuration: { ...configuration },
    outcome: standing === 'cancelled' ? 'failed' : standing,
    value,
    lastReport,
  }));

/** What the trials used, for the savings. A trial that still runs counts as cancelled where it is. */
export const usageOf = ({ trials }: SweepState): TrialUsage[] =>
  trials.map(({ number, standing, steps, plannedSteps, gpuSeconds }) => ({
    trial: number,
    outcome: standing === 'running' ? 'cancelled' : standing,
    steps,
    plannedSteps,
    gpuSeconds,
  }));

export const childOfTrial = (number: number): string => `trial-${number}`;

/** Null for a child that is no trial. */
export function trialOfChild(child: string): number | null {
  const digits = /^trial-(\d+)$/.exec(child)?.[1];
  return digits === undefined ? null : Number(digits);
}
