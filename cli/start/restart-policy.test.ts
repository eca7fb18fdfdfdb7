import { describe, expect, it } from 'vitest';
import { crashesInARow, HEALTHY_AFTER_MS, restartDelayMs } from './restart-policy.ts';

describe('the restart of a crashed process', () => {
  it('waits 250 ms, doubling to 5 s', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 60].map(restartDelayMs)).toEqual([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
  });

  it('counts from one again after 30 s of health', () => {
    expect(crashesInARow(0, 0)).toBe(1);
    expect(crashesInARow(4, HEALTHY_AFTER_MS - 1)).toBe(5);
    expect(crashesInARow(4, HEALTHY_AFTER_MS)).toBe(1);
    expect([0, 999, 1_000].map((readyMs) => crashesInARow(4, readyMs, 1_000))).toEqual([5, 5, 1]);
  });
});
