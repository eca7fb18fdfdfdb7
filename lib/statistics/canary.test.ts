import { describe, expect, it } from 'vitest';
import { Value } from '#typebox/value';
import { mulberry32 } from '#lib/kernel/random.ts';
import { CANARY_PERIODS, type CanaryInterval, type CanaryState, lookAtCanary, startCanary } from './canary.ts';
import { CanaryPolicy } from './canary-policy.ts';
import { proportionMoments, unitMoments } from './unit-moments.ts';

const MINUTE_MS = 60_000;
const policy: CanaryPolicy = {
  metrics: [
    { name: 'errors', against: 'baseline', higherIsBetter: false, tolerance: 0.01 },
    { name: 'slow', against: 'limit', higherIsBetter: false, limit: 0.05 },
    { name: 'score', against: 'baseline', higherIsBetter: true, tolerance: 0.05 },
  ],
  falseFailRate: 0.05,
  falsePassRate: 0.05,
  minimumSample: 500,
  minimumDurationMs: 20 * MINUTE_MS,
  maximumDurationMs: 120 * MINUTE_MS,
};

interface Rates {
  readonly errors: number;
  readonly slow: number;
  readonly score: number;
}
const GOOD: Rates = { errors: 0.01, slow: 0.01, score: 0.7 };

/** One minute: 50 answers of the canary, 450 of the baseline. */
function minute(random: () => number, at: number, canary: Rates): CanaryInterval {
  const ones = (count: number, rate: number) =>
    proportionMoments(Array.from({ length: count }, random).filter((u) => u < rate).length, count);
  const score = (count: number, mean: number) =>
    unitMoments(
      Array.from({ length: count }, () => mean + 0.4 * (random() - 0.5)),
      { low: 0, high: 1 },
    );
  const both = <T>(of: (count: number, rate: number) => T, name: keyof Rates) => ({
    canary: of(50, canary[name]),
    baseline: of(450, GOOD[name]),
  });
  const arms = { errors: both(ones, 'errors'), slow: both(ones, 'slow'), score: both(score, 'score') };
  return { sequence: at, endsAtMs: at * MINUTE_MS, unitsSeen: false, arms };
}

function look(state: CanaryState, interval: CanaryInterval): CanaryState {
  const step = lookAtCanary(policy, state, interval);
  if (!step.ok) throw new Error(step.reason);
  return step.state;
}

function run(seed: number, canary: Rates, change = (interval: CanaryInterval) => interval): CanaryState {
  const random = mulberry32(seed);
  let state = startCanary(0);
  for (let at = 1; state.outcome === 'running'; at++)
    state = look(state, change(minute(() => random.next(), at, canary)));
  return state;
}

describe('a canary', () => {
  it('passes when every metric is proven to be within its tolerance, not before the minimum duration', () => {
    const state = run(1, GOOD);
    expect(state.outcome).toBe('pass');
    expect(state.decidedAtMs).toBeGreaterThanOrEqual(policy.minimumDurationMs);
    expect(state.reports.map(({ standing }) => standing)).toEqual(['Harmless', 'Harmless', 'Harmless']);
  });

  it.each([
    ['errors', { ...GOOD, errors: 0.06 }],
    ['slow', { ...GOOD, slow: 0.12 }],
    ['score', { ...GOOD, score: 0.58 }],
  ])('fails for its %s long before the maximum duration', (metric, canary) => {
    const state = run(2, canary);
    expect(state.outcome).toBe('fail');
    expect(state.decidedAtMs).toBeLessThan(policy.maximumDurationMs / 2);
    expect(state.reports.find((report) => report.standing === 'Harmful')?.metric).toBe(metric);
  });

  it('is inconclusive when a metric was never measured, however good the others are', () => {
    const without = ({ arms: { score: _, ...arms }, ...interval }: CanaryInterval): CanaryInterval => ({
      ...interval,
      arms,
    });
    const state = run(1, GOOD, without);
    expect(state.outcome).toBe('inconclusive');
    expect(state.decidedAtMs).toBe(policy.maximumDurationMs);
    expect(state.reports.map(({ standing }) => standing)).toEqual(['Harmless', 'Harmless', 'MetricMissing']);
  });

  it('is inconclusive when one arm has no values of a metric', () => {
    const state = run(1, GOOD, (interval) => {
      const { errors } = interval.arms;
      if (errors === undefined) return interval;
      const idle = { canary: errors.canary, baseline: proportionMoments(0, 0) };
      return { ...interval, arms: { ...interval.arms, errors: idle } };
    });
    expect(state).toMatchObject({ outcome: 'inconclusive', reports: [{ standing: 'MetricMissing' }, {}, {}] });
  });

  it('does not pass below the minimum sample', () => {
    const state = run(1, GOOD, (interval) => (interval.sequence > 5 ? { ...interval, arms: {} } : interval));
    expect(state.outcome).toBe('inconclusive');
    expect(state.reports.map(({ standing }) => standing)).toEqual(Array.from({ length: 3 }, () => 'TooFewValues'));
  });

  it('begins its evidence anew in each period in which somebody may come again, and keeps it otherwise', () => {
    const undecided = (unitsSeen: boolean) => {
      const random = mulberry32(5);
      let state = startCanary(0);
      const periods: number[] = [];
      const counts: number[] = [];
      for (let at = 1; at < 120; at++) {
        const { arms, ...interval } = minute(() => random.next(), at, GOOD);
        state = look(state, { ...interval, unitsSeen, arms: { errors: arms['errors'] as never } });
        periods.push(state.period);
        counts.push(state.arms['errors']?.canary.count ?? 0);
      }
      return { periods, counts };
    };
    const quarter = policy.maximumDurationMs / MINUTE_MS / CANARY_PERIODS;
    const keyed = undecided(true);
    expect(keyed.periods).toEqual(
      Array.from({ length: 119 }, (_, i) => Math.min(CANARY_PERIODS - 1, Math.floor((i + 1) / quarter))),
    );
    expect(keyed.counts[quarter - 2]).toBe(50 * (quarter - 1));
    expect(keyed.counts[quarter - 1]).toBe(0);
    expect(keyed.counts[quarter]).toBe(50);
    expect(undecided(false)).toMatchObject({ periods: Array(119).fill(0), counts: expect.arrayContaining([50 * 119]) });
  });

  it('keeps its first decision, and a look that is repeated changes nothing', () => {
    const random = mulberry32(3);
    const first = minute(() => random.next(), 1, GOOD);
    const state = look(startCanary(0), first);
    expect(look(state, first)).toBe(state);
    const failed = run(2, { ...GOOD, errors: 0.5 });
    expect(look(failed, { ...minute(() => random.next(), 1, GOOD), sequence: 1_000 })).toBe(failed);
  });

  it('survives JSON at every look', () => {
    const direct = run(4, GOOD);
    const random = mulberry32(4);
    let state = startCanary(0);
    for (let at = 1; state.outcome === 'running'; at++)
      state = JSON.parse(
        JSON.stringify(
          look(
            state,
            minute(() => random.next(), at, GOOD),
          ),
        ),
      ) as CanaryState;
    expect(state).toEqual(direct);
  });

  it('refuses figures that no values can have and stays as it was', () => {
    const arms = { errors: { canary: proportionMoments(6, 5), baseline: proportionMoments(0, 5) } };
    expect(lookAtCanary(policy, startCanary(0), { sequence: 1, endsAtMs: 1, unitsSeen: false, arms })).toEqual({
      ok: false,
      reason: 'arms.errors: values lie in [0, 1]',
    });
  });

  it('that is as bad as just tolerated fails at most as often as promised, looking every minute, by a seed', () => {
    const atTheEdge = { errors: 0.02, slow: 0.05, score: 0.65 };
    let [failed, passed] = [0, 0];
    const canaries = 60;
    for (let seed = 100; seed < 100 + canaries; seed++) {
      const { outcome } = run(seed, atTheEdge);
      if (outcome === 'fail') failed++;
      if (outcome === 'pass') passed++;
    }
    expect(failed).toBeLessThanOrEqual(canaries * policy.falseFailRate);
    expect(passed).toBeLessThanOrEqual(canaries * policy.falsePassRate);
  });
});

it('a policy is checked by its schema', () => {
  expect(Value.Check(CanaryPolicy, policy)).toBe(true);
  expect(Value.Check(CanaryPolicy, { ...policy, metrics: [] })).toBe(false);
  expect(Value.Check(CanaryPolicy, { ...policy, falseFailRate: 0 })).toBe(false);
});
