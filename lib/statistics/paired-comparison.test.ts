import { describe, expect, it } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { comparePaired, type PairedPolicy } from './paired-comparison.ts';

const policy: PairedPolicy = { higherIsBetter: true, nonInferiorityMargin: 0, confidence: 0.95, minimumExamples: 10 };
const champion = Array.from({ length: 50 }, (_, i) => (i % 7) / 7);

describe('challenger against champion', () => {
  it('that gives the same answers does not pass for better, but is not inferior within a margin', () => {
    expect(comparePaired(champion, champion, policy)).toMatchObject({
      passed: false,
      reason: 'NotProven',
      lowerBound: 0,
    });
    const margin = { ...policy, nonInferiorityMargin: 0.01 };
    expect(comparePaired(champion, champion, margin)).toMatchObject({ passed: true, reason: 'NotInferior' });
  });

  it('is judged in the direction of the metric', () => {
    const lower = champion.map((value, i) => value - 0.1 - (i % 3) / 100);
    expect(comparePaired(lower, champion, policy)).toMatchObject({ passed: false });
    const losses = comparePaired(lower, champion, { ...policy, higherIsBetter: false });
    expect(losses).toMatchObject({ passed: true, reason: 'Better' });
    expect(losses.meanDifference).toBeGreaterThan(0.1);
  });

  it('fails when a figure is missing or there are too few examples', () => {
    expect(comparePaired([...champion.slice(1), Number.NaN], champion, policy)).toMatchObject({
      passed: false,
      reason: 'MetricMissing',
    });
    expect(comparePaired([1, 1, 1], [0, 0, 0], policy)).toMatchObject({ passed: false, reason: 'TooFewExamples' });
    expect(comparePaired([], [], policy)).toMatchObject({ passed: false, reason: 'TooFewExamples' });
  });

  it('examples of one document count as one when they move together', () => {
    const copies = 20;
    const gains = Array.from({ length: 12 }, (_, i) => (i % 4) / 10 - 0.05);
    const repeat = (values: readonly number[]) =>
      values.flatMap((value) => Array.from({ length: copies }, () => value));
    const clusters = repeat(gains.map((_, i) => i));
    const naive = comparePaired(repeat(gains), repeat(gains.map(() => 0)), policy);
    const clustered = comparePaired(repeat(gains), repeat(gains.map(() => 0)), policy, clusters);
    const single = comparePaired(
      gains,
      gains.map(() => 0),
      policy,
    );
    expect(clustered.units).toBe(12);
    expect(clustered.standardError).toBeCloseTo(single.standardError ?? Number.NaN, 12);
    expect(naive.standardError).toBeLessThan((single.standardError ?? 0) / 4);
  });

  it('needs the same examples on both sides', () => {
    expect(() => comparePaired([1], [1, 2], policy)).toThrow('the same examples');
  });

  it('that is as good as the champion passes in less than 5 % of comparisons, by a seed', () => {
    const random = mulberry32(8);
    const cases: Readonly<Record<string, () => number>> = {
      'right or wrong answers': () => Number(random.next() < 0.8),
      'skewed losses': () => -Math.log(1 - random.next()),
    };
    for (const draw of Object.values(cases)) {
      let passed = 0;
      const comparisons = 1_000;
      for (let i = 0; i < comparisons; i++) {
        const [challenger, champion] = [Array.from({ length: 200 }, draw), Array.from({ length: 200 }, draw)];
        if (comparePaired(challenger, champion, policy).passed) passed++;
      }
      // 25 are expected: the lower end of a two-sided 95 % interval. 50 would be one in twenty.
      expect(passed).toBeGreaterThan(5);
      expect(passed).toBeLessThan(50);
    }
  });
});
