import { bestTrial } from '#lib/search-space/best-trial.ts';
import { type ParameterImportance, parameterImportance } from '#lib/search-space/importance.ts';
import { type ParallelCoordinates, parallelCoordinates } from '#lib/search-space/parallel-coordinates.ts';
import type { SearchSpace } from '#lib/search-space/search-space.ts';
import { asLoss, type Direction, type Trial } from '#lib/search-space/trial.ts';

/** Characters of all lines together; an activity's answer has at most 256 KiB, importance and the best trial need few of them. */
const MOST_LINE_CHARACTERS = 160_000;

/** Digits of a position on an axis: a ten-thousandth of its height is less than a pixel. */
const POSITION_SCALE = 10_000;

export interface SearchSummary {
  readonly best: Trial | null;
  readonly importance: ParameterImportance[];
  /** Positions are rounded for drawing. */
  readonly parallelCoordinates: ParallelCoordinates & {
    /** Lines left out so that the answer stays small: those of the worst trials, and before them of trials without an objective. */
    readonly omittedLines: number;
  };
}

/** What a search found: the best trial, which parameters mattered, and the data of a parallel-coordinates picture. */
export function searchSummary(space: SearchSpace, trials: readonly Trial[], direction: Direction): SearchSummary {
  const picture = parallelCoordinates(space, trials, direction);
  const rounded = picture.lines.map((line) => ({
    ...line,
    positions: line.positions.map((position) =>
      position === null ? null : Math.round(position * POSITION_SCALE) / POSITION_SCALE,
    ),
  }));
  const lines = fitting(rounded, direction);
  return {
    best: bestTrial(trials, direction),
    importance: parameterImportance(space, trials),
    parallelCoordinates: { ...picture, lines, omittedLines: rounded.length - lines.length },
  };
}

/** As many lines as fit, the best trials' first; by number. */
function fitting(lines: ParallelCoordinates['lines'], direction: Direction): ParallelCoordinates['lines'] {
  const loss = ({ objective }: { objective: number | null }): number =>
    objective === null ? Number.POSITIVE_INFINITY : asLoss(objective, direction);
  let left = MOST_LINE_CHARACTERS;
  const kept = lines
    .toSorted((a, b) => (loss(a) === loss(b) ? a.trial - b.trial : loss(a) - loss(b)))
    .filter((line) => (left -= JSON.stringify(line).length + 1) >= 0);
  return kept.length === lines.length ? lines : kept.toSorted((a, b) => a.trial - b.trial);
}
