import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type ModelTraffic, routeRequest, type TrafficShare, unitOf } from './split.ts';

const share = (change: Partial<TrafficShare> = {}): TrafficShare => ({
  jobId: 'job-1',
  canaryVersion: 2,
  baselineVersion: 1,
  weightPercent: 10,
  ...change,
});
const traffic = (change: Partial<TrafficShare> = {}): ModelTraffic => ({ prodVersion: 1, split: share(change) });
const canaryShare = (split: ModelTraffic, keys: readonly string[]): number =>
  keys.filter((key) => routeRequest('demo', 'tales', split, key)?.arm === 'canary').length / keys.length;

const KEYS = 100_000;
const ORDINARY: Readonly<Record<string, (i: number) => string>> = {
  'counted users': (i) => `user-${i}`,
  numbers: String,
  addresses: (i) => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`,
  'long common prefixes': (i) => `${'tenant/eu-west/'.repeat(5)}${i}`,
};

it.each(Object.keys(ORDINARY))('%s: the canary gets its weight within half a percent of 100,000 keys', (kind) => {
  const keys = Array.from({ length: KEYS }, (_, i) => (ORDINARY[kind] as (i: number) => string)(i));
  for (const weightPercent of [1, 10, 50, 90])
    for (const jobId of ['job-1', 'another job'])
      expect(Math.abs(canaryShare(traffic({ weightPercent, jobId }), keys) - weightPercent / 100)).toBeLessThan(0.005);
});

it('a key stays where it is, and a canary that grows keeps the keys it has', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.double({ min: 0, max: 100, noNaN: true }),
      fc.double({ min: 0, max: 100, noNaN: true }),
      (key, a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const small = routeRequest('demo', 'tales', traffic({ weightPercent: low }), key);
        expect(routeRequest('demo', 'tales', traffic({ weightPercent: low }), key)).toEqual(small);
        const large = routeRequest('demo', 'tales', traffic({ weightPercent: high }), key);
        expect(small?.arm === 'canary' && large?.arm !== 'canary').toBe(false);
      },
    ),
  );
});

it('0 percent are no requests, 100 percent are all', () => {
  fc.assert(
    fc.property(fc.string(), (key) => {
      expect(routeRequest('p', 'm', traffic({ weightPercent: 0 }), key)).toEqual({ version: 1, arm: 'baseline' });
      expect(routeRequest('p', 'm', traffic({ weightPercent: 100 }), key)).toEqual({ version: 2, arm: 'canary' });
    }),
  );
});

it('another job deals anew: who was in one canary is in the next with the chance of anybody', () => {
  const keys = Array.from({ length: KEYS }, (_, i) => `user-${i}`);
  const first = keys.filter((key) => routeRequest('demo', 'tales', traffic(), key)?.arm === 'canary');
  expect(Math.abs(canaryShare(traffic({ jobId: 'job-2' }), first) - 0.1)).toBeLessThan(0.015);
});

it("what is not the canary's goes to the version in prod when that is not the baseline any more", () => {
  const split = share({ weightPercent: 0 });
  expect(routeRequest('p', 'm', { prodVersion: 3, split }, 'k')).toEqual({ version: 3, arm: 'prod' });
  expect(routeRequest('p', 'm', { prodVersion: null, split }, 'k')).toEqual({ version: 1, arm: 'baseline' });
});

it('without a split the prod version answers, and without one in prod nobody', () => {
  expect(routeRequest('p', 'm', { prodVersion: 3, split: null }, 'k')).toEqual({ version: 3, arm: 'prod' });
  expect(routeRequest('p', 'm', { prodVersion: null, split: null }, 'k')).toBeNull();
});

it('names a user within one canary, and nowhere else', () => {
  const split = (unitSecret: string) => ({ ...share(), unitSecret });
  const unit = unitOf(split('one'), 'a name');
  expect(unit).toMatch(/^[0-9a-f]{32}$/);
  expect(unitOf(split('one'), 'a name')).toBe(unit);
  expect(unitOf(split('one'), 'another')).not.toBe(unit);
  expect(unitOf(split('two'), 'a name')).not.toBe(unit);
});

it('is decided in less than 20 microseconds', () => {
  const split = traffic();
  const keys = Array.from({ length: KEYS }, (_, i) => `user-${i}`);
  canaryShare(split, keys);
  const start = performance.now();
  canaryShare(split, keys);
  expect(((performance.now() - start) * 1_000) / KEYS).toBeLessThan(20);
});
