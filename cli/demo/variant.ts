import type { CommandOption, OptionValues } from '../command.ts';
import type { DemoScene, Overrides } from './demo-platform.ts';
import type { Line } from './text-style.ts';

/** One of the demos: what it does on a platform, and what it says about it. */
export interface Variant {
  /** `npm run demo -- <name>`. */
  readonly name: string;
  readonly summary: string;
  /** Of this variant alone. */
  readonly options: readonly CommandOption[];
  /** Of the platform it runs on. */
  readonly overrides?: Overrides;
  /** Everything on the platform. Throws `JobNotCompleted` when a job ends otherwise than it has to. */
  readonly run: (scene: DemoScene, options: OptionValues) => Promise<Told>;
}

/** What a variant found, for programs and for people. */
export interface Told {
  /** Plain JSON. */
  readonly report: Readonly<Record<string, unknown>>;
  /** For a person, given the columns it may use. */
  readonly summary: (columns: number) => Line[];
  /** Paths of the API that are worth a look. */
  readonly furtherPaths: readonly string[];
  /** What the demo claims and its figures do not bear out; empty when all is as promised. */
  readonly unmet: readonly string[];
}
