import type { Screen } from './progress-frame.ts';
import type { Line } from './text-style.ts';

/** What a console shows of something that goes on: drawn in place on a terminal, told line by line in a log. */
export interface Display {
  /** Lines that fit the screen. */
  frame(screen: Screen): Line[];
  /** What is new since `said`. */
  news(said: Said): { readonly lines: string[]; readonly said: Said };
}

/** What was said so far of the thing that is shown. */
export interface Said {
  /** By the number of a step (or trial): the state that was told last. */
  readonly steps: ReadonlyMap<number, string>;
  readonly workAtMs: number;
}

export const NOTHING_SAID: Said = { steps: new Map(), workAtMs: 0 };

/** Steps of the lower one are remembered under numbers that no flow reaches. */
const LOWER_FROM = 1_000;

/** Two things that go on, one below the other. */
export const both = (upper: Display, lower: Display): Display => ({
  frame: (screen) => {
    const first = upper.frame(screen);
    const room = screen.rows - first.length;
    return room < 3 ? first : [...first, ...lower.frame({ ...screen, rows: room })];
  },
  news: (said) => {
    const first = upper.news({ ...said, steps: part(said, (number) => number < LOWER_FROM) });
    const known = part(said, (number) => number >= LOWER_FROM, -LOWER_FROM);
    const second = lower.news({ ...said, steps: known });
    const steps = new Map([...first.said.steps, ...moved(second.said.steps, LOWER_FROM)]);
    return {
      lines: [...first.lines, ...second.lines],
      said: { steps, workAtMs: Math.max(first.said.workAtMs, second.said.workAtMs) },
    };
  },
});

function part({ steps }: Said, belongs: (number: number) => boolean, by = 0): Map<number, string> {
  return moved(new Map([...steps].filter(([number]) => belongs(number))), by);
}

const moved = (steps: ReadonlyMap<number, string>, by: number): Map<number, string> =>
  new Map([...steps].map(([number, state]) => [number + by, state]));
