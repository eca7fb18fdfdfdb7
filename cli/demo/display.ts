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
