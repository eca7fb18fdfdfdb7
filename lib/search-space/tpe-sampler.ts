import type { RandomStream } from '../kernel/random.ts';
import { checkedOrder, type Configuration, constraintsHold, inSpaceOrder, isActive, valueIn } from './configuration.ts';
import { valueAt, valueCount } from './parameter-values.ts';
import { parzenEstimator } from './parzen-estimator.ts';
import { drawConfiguration } from './random-sampler.ts';
import type { TpeSettings } from './sampler-settings.ts';
import type { Choice, Parameter, SearchSpace } from './search-space.ts';
import type { Direction, Trial } from './trial.ts';
import { splitTrials, type TrialSplit } from './trial-split.ts';

/** Rounds of candidates for one group of parameters until one keeps the constraints. */
const MAX_ROUNDS = 20;
/** Whole configurations begun before a random one is taken: a group decided first can leave no way on for a later one. */
const MAX_ATTEMPTS = 20;

/**
 * Tree-structured Parzen estimator as in Optuna 5 (multivariate, constant liar): random until `startupTrials` have finished; then the
 * point with the highest l(x)/g(x) of `candidates` drawn from l. Parameters that always exist are modelled together, each conditional
 * one by itself from the trials that had it. Running trials count as bad, so that parallel trials spread. Null: constraints leave nothing.
 */
export function tpeConfiguration(
  space: SearchSpace,
  settings: TpeSettings,
  direction: Direction,
  history: readonly Trial[],
  random: RandomStream,
): Configuration | null {
  const split = splitTrials(history, direction);
  if (split.finished < settings.startupTrials) return drawConfiguration(space, random);
  const stages = stagesOf(space);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const values = new Map<string, Choice>();
    if (stages.every((stage) => decideStage(space, stage, split, settings, values, random)))
      return inSpaceOrder(space, values);
  }
  return drawConfiguration(space, random);
}

/** The unconditional parameters as one stage, then every conditional one; within a stage only those with a choice to make. */
function stagesOf(space: SearchSpace): readonly (readonly Parameter[])[] {
  const order = checkedOrder(space);
  const always = order.filter(({ when }) => when === undefined);
  const conditional = order.filter(({ when }) => when !== undefined);
  return [always, ...conditional.map((parameter) => [parameter])];
}

/** Adds the values of one stage; false when no candidate keeps the constraints that are decided by now. */
function decideStage(
  space: SearchSpace,
  stage: readonly Parameter[],
  split: TrialSplit,
  settings: TpeSettings,
  values: Map<string, Choice>,
  random: RandomStream,
): boolean {
  const known = Object.fromEntries(values);
  const active = stage.filter((parameter) => isActive(parameter, known));
  for (const parameter of active) if (valueCount(parameter) === 1) values.set(parameter.name, valueAt(parameter, 0));
  const open = active.filter((parameter) => valueCount(parameter) > 1);
  if (open.length === 0) return constraintsHold(space, Object.fromEntries(values));
  const good = parzenEstimator(open, pointsOf(split.good, open));
  const bad = parzenEstimator(open, pointsOf(split.bad, open));
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let best: { configuration: Record<string, Choice>; score: number } | null = null;
    for (let c = 0; c < settings.candidates; c++) {
      const point = good.draw(random);
      const configuration = { ...Object.fromEntries(values), ...choicesOf(point, open) };
      if (!constraintsHold(space, configuration)) continue;
      const score = good.logDensity(point) - bad.logDensity(point);
      if (best === null || score > best.score) best = { configuration, score };
    }
    if (best === null) continue;
    for (const { name } of open) values.set(name, best.configuration[name] as Choice);
    return true;
  }
  return false;
}

/** Trials that had all the parameters, as points of the estimator. */
function pointsOf(trials: readonly Trial[], parameters: readonly Parameter[]): number[][] {
  return trials.flatMap(({ configuration }) => {
    const point = parameters.map((parameter) => internal(parameter, valueIn(configuration, parameter.name)));
    return point.every((x) => x !== null) ? [point] : [];
  });
}

function internal(parameter: Parameter, value: Choice | undefined): number | null {
  if (value === undefined) return null;
  if (parameter.type !== 'categorical') return typeof value === 'number' ? value : null;
  const index = parameter.choices.indexOf(value);
  return index === -1 ? null : index;
}

function choicesOf(point: readonly number[], parameters: readonly Parameter[]): Record<string, Choice> {
  return Object.fromEntries(
    parameters.map((parameter, d) => {
      const x = point[d] as number;
      return [parameter.name, parameter.type === 'categorical' ? valueAt(parameter, x) : x];
    }),
  );
}
