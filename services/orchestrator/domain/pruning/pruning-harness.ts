import type { PruningSettings } from '#lib/search-space/pruning-settings.ts';
import { evolvePruning, type PruningState, startPruning } from './pruning.ts';
import type { IgnoredReason, PruningDecision, PruningEvent, PruningPolicy } from './pruning-event.ts';
import type { StoredNumber } from './stored-number.ts';

export const LIVE = {
  strategy: 'livePercentile',
  drop: 0.25,
  warmUpSteps: 5,
  everySteps: 5,
  minimumTrials: 4,
} as const;
export const LIVE_MEDIAN = { strategy: 'liveMedian', warmUpSteps: 5, everySteps: 5, minimumTrials: 4 } as const;
export const ASHA = { strategy: 'asha', minimumSteps: 5, reductionFactor: 3 } as const;
export const MEDIAN = { strategy: 'median', warmUpSteps: 0, everySteps: 1, startupTrials: 1, minimumPeers: 1 } as const;
const PERCENTILE = { ...MEDIAN, strategy: 'percentile', percentile: 25 } as const;
export const NONE = { strategy: 'none' } as const;
export const STRATEGIES: readonly PruningSettings[] = [LIVE, LIVE_MEDIAN, ASHA, MEDIAN, PERCENTILE, NONE];

export const report = (
  trial: number,
  step: number,
  value: StoredNumber | null,
  plannedSteps?: number,
): PruningEvent => ({
  type: 'report',
  trial,
  step,
  value,
  ...(plannedSteps === undefined ? {} : { plannedSteps }),
});
export const ended = (trial: number, outcome: 'completed' | 'failed' | 'cancelled'): PruningEvent => ({
  type: 'ended',
  trial,
  outcome,
});
export const minimize = (settings: PruningSettings): PruningPolicy => ({ settings, direction: 'minimize' });
export const maximize = (settings: PruningSettings): PruningPolicy => ({ settings, direction: 'maximize' });

export interface Told {
  readonly state: PruningState;
  readonly decisions: readonly PruningDecision[];
  readonly ignored: readonly (IgnoredReason | null)[];
}

export function tell(
  policy: PruningPolicy,
  events: readonly PruningEvent[],
  copy = (state: PruningState) => state,
): Told {
  let state = startPruning(policy);
  const decisions: PruningDecision[] = [];
  const ignored: (IgnoredReason | null)[] = [];
  for (const event of events) {
    const step = evolvePruning(policy, copy(state), event);
    state = step.state;
    decisions.push(...step.decisions);
    ignored.push(step.ignored);
  }
  return { state, decisions, ignored };
}
