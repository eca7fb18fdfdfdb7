import { expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { normal } from '../random.ts';
import { mean, metricOf, perplexityOf, ratio, standardError } from './estimate.ts';

test('the standard error of a mean is the textbook one', () => {
  const items = [1, 0, 0, 1, 1, 0, 1, 1];
  const { value, influences } = mean(items);
  const variance = items.reduce((sum, item) => sum + (item - value) ** 2, 0) / (items.length - 1);
  expect(value).toBe(5 / 8);
  expect(standardError(influences)).toBeCloseTo(Math.sqrt(variance / items.length), 12);
});

test('the standard error of a ratio over unequal windows agrees with drawing windows again', () => {
  const random = mulberry32(3);
  const draw = (): [number, number] => {
    const tokens = 20 + Math.floor(random.next() * 40);
    return [tokens * (2 + 0.5 * normal(random)), tokens];
  };
  const estimateOf = (windows: [number, number][]): ReturnType<typeof ratio> =>
    ratio(
      windows.map(([nats]) => nats),
      windows.map(([, tokens]) => tokens),
    );
  const runs = Array.from({ length: 400 }, () => estimateOf(Array.from({ length: 100 }, draw)));
  const values = mean(runs.map(({ value }) => value));
  const spread = (standardError(values.influences) ?? 0) * Math.sqrt(runs.length);
  const claimed = mean(runs.map(({ influences }) => standardError(influences) ?? 0)).value;
  expect(spread).toBeGreaterThan(0);
  expect(claimed / spread).toBeGreaterThan(0.85);
  expect(claimed / spread).toBeLessThan(1.15);
});

test('a paired difference is far more certain than two separate values when items differ more than models', () => {
  const difficulty = Array.from({ length: 50 }, (_, index) => 1 + index / 10);
  const baseline = { name: 'x', higherIsBetter: false, estimate: mean(difficulty) };
  const better = { ...baseline, estimate: mean(difficulty.map((nats, index) => nats - 0.1 - 0.01 * (index % 3))) };
  const result = metricOf(better, baseline.estimate);
  expect(result.delta).toBeCloseTo(-0.11, 2);
  expect(result.baselineValue).toBeCloseTo(baseline.estimate.value, 12);
  expect(result.standardError).toBeGreaterThan(0.1);
  expect(result.deltaStandardError).toBeGreaterThan(0);
  expect(result.deltaStandardError).toBeLessThan(0.01);
});

test('pairing needs the same items', () => {
  const one = { name: 'x', higherIsBetter: true, estimate: mean([1, 2]) };
  expect(() => metricOf(one, mean([1, 2, 3]))).toThrow('same items');
});

test('perplexity is exp of the loss, its error follows, and a hopeless model stays within JSON', () => {
  const loss = mean([2, 3, 4]);
  const perplexity = perplexityOf(loss);
  expect(perplexity.value).toBeCloseTo(Math.exp(3), 10);
  expect(standardError(perplexity.influences)).toBeCloseTo(Math.exp(3) * (standardError(loss.influences) ?? 0), 10);
  const hopeless = metricOf({ name: 'x', higherIsBetter: false, estimate: perplexityOf(mean([1e28, 2e28])) });
  expect(Number.isFinite(hopeless.value)).toBe(true);
  expect(hopeless.standardError).toBeNull();
});

test('one item has no standard error', () => {
  const result = metricOf({ name: 'x', higherIsBetter: true, estimate: mean([1]) }, mean([0]));
  expect(result).toEqual({
    name: 'x',
    higherIsBetter: true,
    value: 1,
    standardError: null,
    count: 1,
    baselineValue: 0,
    delta: 1,
  });
});
