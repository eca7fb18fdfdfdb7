import { valueIn } from './configuration.ts';
import { averageRanks, correlation } from './rank-correlation.ts';
import type { Choice, Parameter, SearchSpace } from './search-space.ts';
import { objectiveOf, type Trial } from './trial.ts';

/** Bins of a numeric parameter; fewer when trials are few, so that a bin holds at least three. */
const MOST_BINS = 5;
const FEWEST_PER_BIN = 3;

export interface ParameterImportance {
  readonly parameter: string;
  /**
   * Share of the objective's variance that the parameter explains alone, 0 to 1: epsilon squared (Kelley 1935) of a one-way analysis of
   * variance over equally filled bins, choices, and "inactive". Corrected for chance: a parameter without influence is near 0.
   * Shares do not add up to 1, and influence that only shows together with another parameter is not seen. Null: too few trials.
   */
  readonly varianceExplained: number | null;
  /** Spearman's rank correlation of value and objective, -1 to 1, where the parameter is numeric and active. Null: no order, or too few trials. */
  readonly rankCorrelation: number | null;
  /** Completed trials in which the parameter was active. */
  readonly trials: number;
}

/** Marginal importance of each parameter, largest first, then in the order of the space. Only completed trials with finite objectives count. */
export function parameterImportance(space: SearchSpace, trials: readonly Trial[]): ParameterImportance[] {
  const measured = trials.flatMap((trial) => {
    const objective = objectiveOf(trial);
    return objective === null ? [] : [{ configuration: trial.configuration, objective }];
  });
  const importances = space.parameters.map((parameter) => {
    const points = measured.map(({ configuration, objective }) => ({
      value: valueIn(configuration, parameter.name),
      objective,
    }));
    const active = points.filter(isActivePoint);
    return {
      parameter: parameter.name,
      varianceExplained: varianceExplained(groupsOf(parameter, points)),
      rankCorrelation: parameter.type === 'categorical' ? null : spearman(active),
      trials: active.length,
    };
  });
  return importances.sort((a, b) => (b.varianceExplained ?? -1) - (a.varianceExplained ?? -1));
}

interface Point {
  readonly value: Choice | undefined;
  readonly objective: number;
}

type ActivePoint = Point & { readonly value: Choice };

const isActivePoint = (point: Point): point is ActivePoint => point.value !== undefined;

/** Objectives by choice or bin; equal values always share a bin. */
function groupsOf(parameter: Parameter, points: readonly Point[]): number[][] {
  const active = points.filter(isActivePoint);
  const groups = new Map<Choice | undefined, number[]>();
  const inactive = points.filter(({ value }) => value === undefined).map(({ objective }) => objective);
  if (inactive.length > 0) groups.set(undefined, inactive);
  const bins = Math.max(1, Math.min(MOST_BINS, Math.floor(active.length / FEWEST_PER_BIN)));
  const ranks = averageRanks(active.map(({ value }) => Number(value)));
  for (const [i, { value, objective }] of active.entries()) {
    const bin = Math.floor((((ranks[i] as number) - 1) / active.length) * bins);
    const group = parameter.type === 'categorical' ? value : bin;
    groups.set(group, [...(groups.get(group) ?? []), objective]);
  }
  return [...groups.values()];
}

function varianceExplained(groups: readonly (readonly number[])[]): number | null {
  const all = groups.flat();
  const [n, k] = [all.length, groups.length];
  // One degree of freedom within the groups is not enough to tell chance from influence.
  if (n - k < 2) return null;
  const mean = average(all);
  const total = all.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  if (k < 2 || total === 0) return 0;
  const within = groups.reduce((sum, group) => {
    const center = average(group);
    return sum + group.reduce((inner, x) => inner + (x - center) ** 2, 0);
  }, 0);
  return Math.max(0, 1 - (within / (n - k)) * ((n - 1) / total));
}

function spearman(points: readonly ActivePoint[]): number | null {
  return correlation(
    averageRanks(points.map(({ value }) => Number(value))),
    averageRanks(points.map(({ objective }) => objective)),
  );
}

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
