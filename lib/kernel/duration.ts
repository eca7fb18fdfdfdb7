import { invariant } from './errors.ts';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration such as `250ms`, `30s`, `30m`, `24h`, `2d`. Throws `InvariantViolation` for anything else. */
export function duration(text: string): number {
  const match = /^(\d+)(ms|s|m|h|d)$/.exec(text);
  const unit = UNIT_MS[match?.[2] ?? ''];
  invariant(match !== null && unit !== undefined, `not a duration: ${text}`);
  return Number(match[1]) * unit;
}
