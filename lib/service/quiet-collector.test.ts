import { describe, expect, it } from 'vitest';
import { QuietCollector } from './quiet-collector.ts';

describe('a process gives memory back', () => {
  /** What each look decides after so many ms of CPU since the one before, 10 s apart. */
  const decisions = (cpuBetweenLooks: readonly number[]): boolean[] => {
    let cpuMs = 0;
    const collector = new QuietCollector(
      () => cpuMs,
      () => {
        cpuMs += 30;
      },
    );
    return cpuBetweenLooks.map((ms) => {
      cpuMs += ms;
      return collector.look(10_000);
    });
  };

  it('once it is quiet after its start, and not again while it does next to nothing', () => {
    expect(decisions([1_000, 20, 20, 20, 20])).toEqual([false, true, false, false, false]);
  });

  it('not while it works, and once afterwards', () => {
    expect(decisions([1_000, 20, 4_000, 9_000, 10_000, 499, 20])).toEqual([
      false,
      true,
      false,
      false,
      false,
      true,
      false,
    ]);
  });

  it('now and then when it is never quite idle', () => {
    expect(decisions([1_000, 300, 200, 200, 200, 200])).toEqual([false, true, false, false, true, false]);
  });
});
