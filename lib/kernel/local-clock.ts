/* oxlint-disable no-restricted-globals -- Date is used for the arithmetic of the calendar only; no clock is read. */
import { invariant } from './errors.ts';

/** What a clock on the wall shows; `month` 1 to 12. */
export interface LocalTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** A clock on the wall of one IANA time zone, with its daylight saving rules as the runtime knows them. */
export class LocalClock {
  readonly #format: Intl.DateTimeFormat;

  /** Throws `RangeError` for a zone that the runtime does not know; see `isTimeZone`. */
  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    });
  }

  /** What it shows at a moment (epoch ms). */
  at(epochMs: number): LocalTime {
    const shown = { year: 0, month: 0, day: 0, hour: 0, minute: 0 };
    for (const { type, value } of this.#format.formatToParts(epochMs))
      if (Object.hasOwn(shown, type)) shown[type as keyof LocalTime] = Number(value);
    return shown;
  }

  /**
   * The first moment (epoch ms) at which it shows a local time: of one that comes twice the earlier, of one that is left out when clocks go
   * forward the moment of the change.
   */
  momentOf(local: LocalTime): number {
    const wanted = asUtc(local);
    // The offset changes at most once within these two days (no zone has done otherwise since 1970).
    const [before, after] = [this.#offsetAt(wanted - DAY_MS), this.#offsetAt(wanted + DAY_MS)];
    const earlier = wanted - Math.max(before, after);
    const later = wanted - Math.min(before, after);
    for (const moment of [earlier, later]) if (asUtc(this.at(moment)) === wanted) return moment;
    return this.#changeBetween(earlier, later);
  }

  #offsetAt(epochMs: number): number {
    const minute = Math.floor(epochMs / MINUTE_MS) * MINUTE_MS;
    return asUtc(this.at(minute)) - minute;
  }

  /** Clocks go forward within (from, to]: the first minute of the new offset. */
  #changeBetween(from: number, to: number): number {
    const old = this.#offsetAt(from);
    invariant(this.#offsetAt(to) > old, 'a local time that never comes lies in a gap');
    let [low, high] = [from, to];
    while (high - low > MINUTE_MS) {
      const middle = low + Math.floor((high - low) / 2 / MINUTE_MS) * MINUTE_MS;
      if (this.#offsetAt(middle) === old) low = middle;
      else high = middle;
    }
    return high;
  }
}

/** The local time read as if it were UTC, epoch ms. */
export const asUtc = ({ year, month, day, hour, minute }: LocalTime): number =>
  Date.UTC(year, month - 1, day, hour, minute);

/** Whether the runtime knows the IANA name (`Europe/Berlin`, `UTC`). Offsets (`+02:00`), which it takes too, know no summer time. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
