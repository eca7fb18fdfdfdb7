import { expect, it } from 'vitest';
import { type Fault, faultGroups, kindOf, kindsOn, TARGETS } from './fault-plan.ts';

const KINDS = kindsOn(TARGETS);

function take(seed: number, count: number): Fault[] {
  const faults: Fault[] = [];
  for (const group of faultGroups(seed, KINDS)) {
    faults.push(...group);
    if (faults.length >= count) break;
  }
  return faults;
}

it('the same seed gives the same faults, another seed others', () => {
  expect(take(7, 200)).toEqual(take(7, 200));
  expect(take(7, 200)).not.toEqual(take(8, 200));
});

it('every kind comes once before any comes again', () => {
  for (const seed of [1, 2, 3]) {
    const round = take(seed, 2 * KINDS.length + 2);
    for (const at of [0, KINDS.length]) {
      const kinds = round.slice(at, at + KINDS.length).map(kindOf);
      expect(kinds.sort()).toEqual([...KINDS].sort());
    }
  }
});

it('some faults come in pairs, and a pair never strikes one target twice', () => {
  const groups: (readonly Fault[])[] = [];
  for (const group of faultGroups(11, KINDS)) if (groups.push(group) === 600) break;
  const pairs = groups.filter((group) => group.length > 1);
  expect(pairs.length).toBeGreaterThan(50);
  expect(pairs.length).toBeLessThan(150);
  expect(pairs.filter(([first, second]) => first?.target === second?.target)).toEqual([]);
});

it('a pause ends before a lease does, a freeze after leases and sessions', () => {
  const faults = take(5, 1_000);
  const lasting = (action: string): number[] =>
    faults.filter((fault) => fault.action === action).map(({ lastsMs }) => lastsMs);
  expect(Math.max(...lasting('pause'))).toBeLessThan(3_000);
  expect(Math.min(...lasting('freeze'))).toBeGreaterThan(6_000);
  expect(lasting('kill').every((lastsMs) => lastsMs === 0)).toBe(true);
});
