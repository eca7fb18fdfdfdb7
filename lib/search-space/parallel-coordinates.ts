import { valueIn } from './configuration.ts';
import type { Choice, Parameter, SearchSpace } from './search-space.ts';
import { type Direction, objectiveOf, type Trial } from './trial.ts';

/** One vertical axis. Positions run from 0 (`min`, the first choice) to 1 (`max`, the last choice). */
export type ParallelAxis =
  | { readonly name: string; readonly scale: 'linear' | 'log'; readonly min: number; readonly max: number }
  | { readonly name: string; readonly scale: 'choices'; readonly choices: readonly Choice[] };

interface ParallelLine {
  readonly trial: number;
  readonly outcome: Trial['outcome'];
  readonly objective: number | null;
  /** Where the line crosses each axis; null where the parameter is inactive, and on the objective's axis while there is none. */
  readonly positions: readonly (number | null)[];
}

export interface ParallelCoordinates {
  /** The parameters in the order of the space, then `objective`, whose upper end is always the better one. */
  readonly axes: readonly ParallelAxis[];
  readonly direction: Direction;
  /** One line per trial, by number. */
  readonly lines: readonly ParallelLine[];
}

/** The data of a parallel-coordinates picture: everything is placed, the console only draws. */
export function parallelCoordinates(
  space: SearchSpace,
  trials: readonly Trial[],
  direction: Direction,
): ParallelCoordinates {
  const objectives = trials.map(objectiveOf).filter((value) => value !== null);
  const best = direction === 'minimize' ? Math.min(...objectives) : Math.max(...objectives);
  const worst = direction === 'minimize' ? Math.max(...objectives) : Math.min(...objectives);
  const objectiveAxes: ParallelAxis[] =
    objectives.length === 0 ? [] : [{ name: 'objective', scale: 'linear', min: worst, max: best }];
  const lines = trials
    .toSorted((a, b) => a.number - b.number)
    .map((trial) => {
      const objective = objectiveOf(trial);
      const positions = space.parameters.map((parameter) =>
        positionOf(parameter, valueIn(trial.configuration, parameter.name)),
      );
      const last = objectives.length === 0 ? [] : [objective === null ? null : between(worst, best, objective)];
      return { trial: trial.number, outcome: trial.outcome, objective, positions: [...positions, ...last] };
    });
  return { axes: [...space.parameters.map(axisOf), ...objectiveAxes], direction, lines };
}

function axisOf(parameter: Parameter): ParallelAxis {
  const { name } = parameter;
  if (parameter.type === 'categorical') return { name, scale: 'choices', choices: parameter.choices };
  return { name, scale: parameter.log === true ? 'log' : 'linear', min: parameter.min, max: parameter.max };
}

function positionOf(parameter: Parameter, value: Choice | undefined): number | null {
  if (value === undefined) return null;
  if (parameter.type === 'categorical')
    return between(0, parameter.choices.length - 1, parameter.choices.indexOf(value));
  const onAxis = (x: number): number => (parameter.log === true ? Math.log(x) : x);
  return between(onAxis(parameter.min), onAxis(parameter.max), onAxis(Number(value)));
}

/** The middle when the axis has one value only. */
const between = (from: number, to: number, x: number): number =>
  from === to ? 0.5 : x === from ? 0 : (x - from) / (to - from);
