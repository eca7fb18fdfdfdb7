import { assertNever } from '../kernel/errors.ts';
import type { Configuration } from './configuration.ts';
import { gridOf } from './grid.ts';
import { drawConfiguration, trialStream } from './random-sampler.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import type { SearchSpace } from './search-space.ts';
import { tpeConfiguration } from './tpe-sampler.ts';
import type { Direction, Trial } from './trial.ts';

export interface NextTrial {
  readonly space: SearchSpace;
  readonly sampler: SamplerSettings;
  readonly direction: Direction;
  /** Trials so far, in any order; only `tpe` looks at them. */
  readonly history: readonly Trial[];
  readonly seed: number;
  /** From 0. Grid: the position in the grid. */
  readonly trialNumber: number;
}

export type NextConfiguration =
  | { readonly ok: true; readonly configuration: Configuration }
  | { readonly ok: false; readonly reason: 'GridExhausted' | 'NoneSatisfiesConstraints' };

/**
 * The configuration of a trial: a function of its arguments, so that asking again after a crash gives the same trial. The space passed
 * `checkSearchSpace`.
 */
export function nextConfiguration(next: NextTrial): NextConfiguration {
  const { space, sampler, trialNumber } = next;
  switch (sampler.type) {
    case 'grid': {
      const grid = gridOf(space);
      const configuration = grid.ok ? grid.configurations[trialNumber] : undefined;
      return configuration === undefined ? { ok: false, reason: 'GridExhausted' } : { ok: true, configuration };
    }
    case 'random':
      return orNone(drawConfiguration(space, trialStream(next.seed, trialNumber)));
    case 'tpe':
      return orNone(
        tpeConfiguration(space, sampler, next.direction, next.history, trialStream(next.seed, trialNumber)),
      );
    default:
      return assertNever(sampler);
  }
}

const orNone = (configuration: Configuration | null): NextConfiguration =>
  configuration === null ? { ok: false, reason: 'NoneSatisfiesConstraints' } : { ok: true, configuration };
