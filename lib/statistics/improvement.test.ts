import { describe, expect, test } from 'vitest';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { type ComparedMetric, decideImprovement } from './improvement.ts';
import { comparePaired } from './paired-comparison.ts';

const SUPERIOR = { nonInferiorityMargin: 0 };
const metric = (change: Partial<ComparedMetric> = {}): ComparedMetric => ({
  higherIsBetter: true,
  count: 101,
  delta: 0.1,
  deltaStandardError: 0.04,
  ...change,
});

/** Mean and standard error of paired differences, as an evaluation reports them. */
function summary(differences: readonly number[], higherIsBetter = true): ComparedMetric {
  const count = differences.length;
  const delta = differences.reduce((sum, each) => sum + each, 0) / count;
  const squares = differences.reduce((sum, each) => sum + (each - delta) ** 2, 0);
  return { higherIsBetter, count, delta, deltaStandardError: Math.sqrt(squares / (count - 1) / count) };
}

function normal(random: RandomStream): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

describe('a challenger is better when the whole interval lies above zero', () => {
  test('by the sign of the metric’s direction', () => {
    // t(0.975, 100) = 1.98397
    expect(decideImprovement(metric(), SUPERIOR)).toMatchObject({ better: true, reason: 'Better', improvement: 0.1 });
    expect(decideImprovement(metric(), SUPERIOR).lowerBound).toBeCloseTo(0.1 - 1.98397 * 0.04, 6);
    expect(decideImprovement(metric({ higherIsBetter: false }), SUPERIOR)).toMatchObject({
      better: false,
      reason: 'NotProven',
      improvement: -0.1,
    });
    expect(decideImprovement(metric({ higherIsBetter: false, delta: -0.1 }), SUPERIOR).better).toBe(true);
  });

  test('few items ask for more', () => {
    // 2.5 standard errors: beyond t(0.975, 100), within t(0.975, 4) = 2.776.
    expect(decideImprovement(metric(), SUPERIOR).better).toBe(true);
    expect(decideImprovement(metric({ count: 5 }), SUPERIOR).better).toBe(false);
  });

  test('what rounding leaves of equal differences is no spread: two items prove nothing, eight do', () => {
    const rounded = metric({ count: 2, deltaStandardError: 2.8e-17 });
    expect(decideImprovement(rounded, SUPERIOR)).toMatchObject({ better: false, reason: 'TooFewExamples' });
    expect(decideImprovement({ ...rounded, count: 8 }, SUPERIOR)).toMatchObject({ better: true, lowerBound: 0.1 });
    expect(
      decideImprovement({ ...rounded, delta: -1e9, higherIsBetter: false, deltaStandardError: 1e-7 }, SUPERIOR).reason,
    ).toBe('TooFewExamples');
  });

  test('equal outputs are not better, and not inferior within any margin', () => {
    const equal = metric({ delta: 0, deltaStandardError: 0, count: 3 });
    expect(decideImprovement(equal, SUPERIOR)).toEqual({
      better: false,
      reason: 'NotProven',
      improvement: 0,
      lowerBound: 0,
    });
    expect(decideImprovement(equal, { nonInferiorityMargin: 1e-9 })).toMatchObject({
      better: true,
      reason: 'NotInferior',
    });
  });

  test('a margin allows to be worse by less than itself, never by as much', () => {
    const worse = metric({ delta: -0.1, deltaStandardError: 0, count: 50 });
    expect(decideImprovement(worse, { nonInferiorityMargin: 0.1 }).better).toBe(false);
    expect(decideImprovement(worse, { nonInferiorityMargin: 0.1001 })).toMatchObject({
      better: true,
      reason: 'NotInferior',
    });
  });

  test('agrees with the comparison that has every example', () => {
    const random = mulberry32(5);
    for (let turn = 0; turn < 200; turn++) {
      const champion = Array.from({ length: 12 }, () => normal(random));
      const challenger = champion.map((value) => value + 0.3 + normal(random) / 2);
      const policy = { higherIsBetter: false, nonInferiorityMargin: 0.2, confidence: 0.95, minimumExamples: 2 };
      const whole = comparePaired(challenger, champion, policy);
      const differences = challenger.map((value, at) => value - (champion[at] ?? 0));
      const brief = decideImprovement(summary(differences, false), policy);
      expect(brief.better).toBe(whole.passed);
      expect(brief.reason).toBe(whole.reason);
      expect(brief.lowerBound).toBeCloseTo(whole.lowerBound ?? Number.NaN, 9);
    }
  });
});

describe('what is not known is not better', () => {
  const cases: Record<string, ComparedMetric | undefined> = {
    'no metric': undefined,
    'no difference': metric({ delta: undefined }),
    'no standard error': metric({ deltaStandardError: undefined }),
    'a difference that is no number': metric({ delta: Number.NaN }),
    'an infinite difference': metric({ delta: Number.POSITIVE_INFINITY }),
    'an infinite error': metric({ deltaStandardError: Number.POSITIVE_INFINITY }),
    'a negative error': metric({ deltaStandardError: -1 }),
    'one item': metric({ count: 1 }),
    'a count that is no number': metric({ count: Number.NaN }),
    'few items that all say the same': metric({ count: 7, deltaStandardError: 0 }),
  };
  test.each(Object.keys(cases))('%s', (name) => {
    expect(decideImprovement(cases[name], { nonInferiorityMargin: 10 })).toMatchObject({
      better: false,
      lowerBound: null,
    });
  });

  test('a margin that is no margin', () => {
    for (const nonInferiorityMargin of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(decideImprovement(metric(), { nonInferiorityMargin }).better).toBe(false);
  });
});

describe('a challenger that equals the champion passes less than 5 % of the time', () => {
  const PAIRS = 4_000;
  /** Differences of two models that are equally good, one an item. */
  const worlds: Record<string, (random: RandomStream) => number> = {
    'normal noise': normal,
    'losses with a heavy tail': (random) => Math.exp(normal(random)) - Math.exp(normal(random)),
    'right and wrong answers': (random) => Number(random.next() < 0.6) - Number(random.next() < 0.6),
    'answers that rarely differ': (random) => {
      const draw = random.next();
      return draw < 0.03 ? 1 : draw < 0.06 ? -1 : 0;
    },
  };
  const sizes = [8, 30, 200];
  test.each(Object.keys(worlds).flatMap((name) => sizes.map((count) => [name, count] as const)))(
    '%s, %i items',
    (name, count) => {
      const seed = 20_261_126 + count;
      const random = mulberry32(seed);
      const draw = worlds[name] ?? normal;
      let passed = 0;
      for (let pair = 0; pair < PAIRS; pair++) {
        const differences = Array.from({ length: count }, () => draw(random));
        if (decideImprovement(summary(differences), SUPERIOR).better) passed++;
      }
      expect(passed / PAIRS, `seed ${seed}`).toBeLessThan(0.05);
    },
  );

  test('and one that is better by three standard errors passes most of the time', () => {
    const random = mulberry32(9);
    let passed = 0;
    for (let pair = 0; pair < 500; pair++) {
      const differences = Array.from({ length: 100 }, () => 0.3 + normal(random));
      if (decideImprovement(summary(differences), SUPERIOR).better) passed++;
    }
    expect(passed / 500).toBeGreaterThan(0.75);
  });
});
