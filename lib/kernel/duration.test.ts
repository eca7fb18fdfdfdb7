import { describe, expect, it } from 'vitest';
import { duration } from './duration.ts';
import { InvariantViolation } from './errors.ts';

describe('duration', () => {
  it.each([
    ['250ms', 250],
    ['0s', 0],
    ['30s', 30_000],
    ['30m', 1_800_000],
    ['24h', 86_400_000],
    ['2d', 172_800_000],
  ])('%s is %d ms', (text, ms) => {
    expect(duration(text)).toBe(ms);
  });

  it.each(['', '5', 's', '1.5s', '-1s', '1 s', '1S', '1w', '1h30m', '1s\n'])('refuses %j', (text) => {
    expect(() => duration(text)).toThrow(InvariantViolation);
  });
});
