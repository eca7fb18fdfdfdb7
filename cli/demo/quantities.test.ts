import { describe, expect, it } from 'vitest';
import { clock, compact, count, seconds, signed } from './quantities.ts';

describe('figures for a person', () => {
  it('shows times as a clock, never negative', () => {
    expect([0, 4_600, 65_000, 3_723_000, -5].map(clock)).toEqual(['0:00', '0:05', '1:05', '1:02:03', '0:00']);
  });

  it('shows no more digits of a duration than anybody reads', () => {
    expect([0.004, 0.42, 0.999, 2.46, 9.96, 43.2].map(seconds)).toEqual([
      '0.00 s',
      '0.42 s',
      '1.0 s',
      '2.5 s',
      '10 s',
      '43 s',
    ]);
  });

  it('separates thousands and shortens large numbers', () => {
    expect([7, 999, 1_000, 681_544, 7_334_285].map(count)).toEqual(['7', '999', '1,000', '681,544', '7,334,285']);
    expect([950, 999.9, 4_240, 45_100, 1_200_000].map(compact)).toEqual(['950', '1.0k', '4.2k', '45k', '1.2M']);
  });

  it('gives a difference its sign', () => {
    expect([signed(-0.3684), signed(0.0204)]).toEqual(['-0.368', '+0.020']);
  });
});
