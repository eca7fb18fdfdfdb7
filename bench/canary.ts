import { mulberry32 } from '#lib/kernel/random.ts';
import { type CanaryArms, type CanaryOutcome, lookAtCanary, startCanary } from '#lib/statistics/canary.ts';
import type { CanaryPolicy } from '#lib/statistics/canary-policy.ts';
import { normalSurvival } from '#lib/statistics/normal.ts';
import { proportionMoments, type UnitMoments } from '#lib/statistics/unit-moments.ts';
import type { Benchmark } from './support/benchmark.ts';
import { machineKind, requireLinux } from './support/machine.ts';
import { median, print, printGoal, printTable, type Row } from './support/report.ts';

const MINUTE_MS = 60_000;
/** A minute of traffic: one answer in ten is the canary's. */
const CANARY_ANSWERS = 20;
const BASELINE_ANSWERS = 180;
const POLICY: CanaryPolicy = {
  metrics: [
    { name: 'errors', against: 'baseline', higherIsBetter: false, tolerance: 0.01 },
    { name: 'slow', against: 'limit', higherIsBetter: false, limit: 0.01 },
    { name: 'score', against: 'baseline', higherIsBetter: true, tolerance: 0.02 },
  ],
  falseFailRate: 0.05,
  falsePassRate: 0.05,
  minimumSample: 1_000,
  minimumDurationMs: 60 * MINUTE_MS,
  maximumDurationMs: 480 * MINUTE_MS,
};

interface Rates {
  readonly errors: number;
  readonly slow: number;
  readonly score: number;
}

const BASELINE: Rates = { errors: 0.01, slow: 0.003, score: 0.7 };
const STEADY = (): number => 1;
/** Errors and slow answers of both arms between nothing and twice the mean, once in four hours. */
const DAILY = (minute: number): number => 1 + Math.sin((2 * Math.PI * minute) / 240);

interface Scenario {
  readonly what: string;
  readonly canary: Rates;
  readonly policy?: CanaryPolicy;
  readonly load?: (minute: number) => number;
}

const NO_TOLERANCE: CanaryPolicy = {
  ...POLICY,
  metrics: [{ name: 'errors', against: 'baseline', higherIsBetter: false, tolerance: 0 }],
};

const NULLS: readonly Scenario[] = [
  { what: 'equal to the baseline', canary: BASELINE },
  { what: 'as bad as just tolerated, all three', canary: { errors: 0.02, slow: 0.01, score: 0.68 } },
  { what: 'equal, one metric, no tolerance', canary: BASELINE, policy: NO_TOLERANCE },
  { what: 'the same, rates of both arms swing', canary: BASELINE, policy: NO_TOLERANCE, load: DAILY },
];

const HARMFUL: readonly Scenario[] = [
  { what: 'errors 1 % -> 3 %', canary: { ...BASELINE, errors: 0.03 } },
  { what: 'errors 1 % -> 5 %', canary: { ...BASELINE, errors: 0.05 } },
  { what: 'errors 1 % -> 20 %', canary: { ...BASELINE, errors: 0.2 } },
  { what: 'slow 0.3 % -> 2 %', canary: { ...BASELINE, slow: 0.02 } },
  { what: 'slow 0.3 % -> 5 %', canary: { ...BASELINE, slow: 0.05 } },
  { what: 'score 0.70 -> 0.66', canary: { ...BASELINE, score: 0.66 } },
  { what: 'score 0.70 -> 0.60', canary: { ...BASELINE, score: 0.6 } },
];

/** Answers come from these users, each with a key of their own, and so many of them fail whoever answers. */
interface Crowd {
  readonly users: number;
  readonly alwaysFail: number;
  /** Rate of errors of the other users when the canary answers. */
  readonly canaryErrors: number;
  /** As the watch counts (each user once in a period), or each answer, which is wrong. */
  readonly counted: 'users' | 'answers';
}

const CROWDS: readonly Crowd[] = [
  { users: 300, alwaysFail: 0.05, canaryErrors: 0, counted: 'answers' },
  { users: 300, alwaysFail: 0.05, canaryErrors: 0, counted: 'users' },
  { users: 3_000, alwaysFail: 0.05, canaryErrors: 0, counted: 'users' },
  { users: 30_000, alwaysFail: 0.05, canaryErrors: 0, counted: 'users' },
  { users: 3_000, alwaysFail: 0.05, canaryErrors: 0.3, counted: 'users' },
];
const ERRORS_ONLY: CanaryPolicy = {
  ...POLICY,
  metrics: [{ name: 'errors', against: 'baseline', higherIsBetter: false, tolerance: 0.02 }],
};

export const canary: Benchmark = {
  name: 'canary',
  summary: 'false failures, false passes and power of the canary test when it is looked at every minute',
  options: {
    canaries: { standard: 2_000, summary: 'canaries of each null scenario; a tenth for each harmful one' },
    seed: { standard: 1, summary: 'seed of everything random' },
  },
  run: async (options) => {
    requireLinux();
    const [canaries, seed] = [options.number('canaries'), options.number('seed')];
    print(
      `canary\n${machineKind()}\n\n${CANARY_ANSWERS} + ${BASELINE_ANSWERS} answers a minute, looked at every minute for at most 480; false fail and pass rate 5 %`,
    );
    const nulls = NULLS.map((scenario) => play(scenario, canaries, seed));
    printTable(nulls.map(rowOf));
    for (const result of nulls)
      printGoal(`false failures, ${result.scenario.what}`, 100 * share(result, 'fail'), '%', { atMost: 5 });
    printGoal('false passes at the edge', 100 * share(nulls[1] as Result, 'pass'), '%', { atMost: 5 });
    print('\nsticky keys, some users fail always; tolerance 2 percentage points');
    const crowds = CROWDS.map((crowd) => ({ crowd, outcomes: playCrowd(crowd, canaries, seed) }));
    printTable(
      crowds.map(({ crowd, outcomes }) => ({
        users: String(crowd.users),
        'others fail, canary %': (100 * crowd.canaryErrors).toFixed(0),
        'counted once': crowd.counted === 'users' ? 'a user in a period' : 'an answer',
        'fail %': ((100 * outcomes.fail) / canaries).toFixed(1),
        'pass %': ((100 * outcomes.pass) / canaries).toFixed(1),
        'inconclusive %': ((100 * outcomes.inconclusive) / canaries).toFixed(1),
      })),
    );
    for (const { crowd, outcomes } of crowds)
      if (crowd.counted === 'users' && crowd.canaryErrors === 0)
        printGoal(`false failures, ${crowd.users} users`, (100 * outcomes.fail) / canaries, '%', { atMost: 5 });
    print('');
    printTable(HARMFUL.map((scenario) => rowOf(play(scenario, Math.ceil(canaries / 10), seed))));
    await Promise.resolve();
  },
};

interface Result {
  readonly scenario: Scenario;
  readonly canaries: number;
  readonly minutes: Readonly<Record<CanaryOutcome, number[]>>;
  /** Canaries that a z-test of the error rate at 5 %, repeated every minute, would have failed. */
  readonly naive: number;
  readonly lookMicros: number;
}

function play(scenario: Scenario, canaries: number, seed: number): Result {
  const random = mulberry32(seed);
  const draw = (): number => random.next();
  const minutes: Record<CanaryOutcome, number[]> = { running: [], pass: [], fail: [], inconclusive: [] };
  const policy = scenario.policy ?? POLICY;
  let [naive, looks, lookMs] = [0, 0, 0];
  for (let n = 0; n < canaries; n++) {
    let state = startCanary(0);
    let alarmed = false;
    for (let minute = 1; state.outcome === 'running'; minute++) {
      const arms = traffic(draw, scenario.canary, (scenario.load ?? STEADY)(minute));
      const begin = performance.now();
      const step = lookAtCanary(policy, state, {
        sequence: minute,
        endsAtMs: minute * MINUTE_MS,
        unitsSeen: false,
        arms,
      });
      lookMs += performance.now() - begin;
      looks++;
      if (!step.ok) throw new Error(step.reason);
      state = step.state;
      alarmed ||= zTestAlarms(state.arms['errors']);
    }
    minutes[state.outcome].push((state.decidedAtMs ?? NaN) / MINUTE_MS);
    if (alarmed) naive++;
  }
  return { scenario, canaries, minutes, naive, lookMicros: (1_000 * lookMs) / looks };
}

function playCrowd(crowd: Crowd, canaries: number, seed: number): Record<CanaryOutcome, number> {
  const random = mulberry32(seed);
  const outcomes: Record<CanaryOutcome, number> = { running: 0, pass: 0, fail: 0, inconclusive: 0 };
  for (let n = 0; n < canaries; n++) outcomes[playCrowdOnce(crowd, () => random.next())]++;
  return outcomes;
}

function playCrowdOnce({ users, alwaysFail, canaryErrors, counted }: Crowd, draw: () => number): CanaryOutcome {
  const people = Array.from({ length: users }, () => ({ canary: draw() < 0.1, fails: draw() < alwaysFail }));
  const seen = new Set<number>();
  let state = startCanary(0);
  for (let minute = 1; state.outcome === 'running'; minute++) {
    const errors = { canary: { count: 0, sum: 0 }, baseline: { count: 0, sum: 0 } };
    for (let i = 0; i < CANARY_ANSWERS + BASELINE_ANSWERS; i++) {
      const who = Math.floor(draw() * users);
      const { canary: isCanary, fails } = people[who] as (typeof people)[number];
      if (counted === 'users' && seen.has(who)) continue;
      seen.add(who);
      const arm = errors[isCanary ? 'canary' : 'baseline'];
      arm.count++;
      if (fails || (isCanary && draw() < canaryErrors)) arm.sum++;
    }
    const arms = {
      errors: {
        canary: proportionMoments(errors.canary.sum, errors.canary.count),
        baseline: proportionMoments(errors.baseline.sum, errors.baseline.count),
      },
    };
    const interval = { sequence: minute, endsAtMs: minute * MINUTE_MS, unitsSeen: counted === 'users', arms };
    const step = lookAtCanary(ERRORS_ONLY, state, interval);
    if (!step.ok) throw new Error(step.reason);
    if (step.state.period !== state.period) seen.clear();
    state = step.state;
  }
  return state.outcome;
}

function traffic(draw: () => number, rates: Rates, load: number): Record<string, CanaryArms> {
  const ones = (count: number, rate: number): UnitMoments => {
    let hits = 0;
    for (let i = 0; i < count; i++) if (draw() < rate) hits++;
    return proportionMoments(hits, count);
  };
  const score = (count: number, mean: number): UnitMoments => {
    let [sum, sumOfSquares] = [0, 0];
    for (let i = 0; i < count; i++) {
      const value = mean + 0.5 * (draw() - 0.5);
      sum += value;
      sumOfSquares += value * value;
    }
    return { count, sum, sumOfSquares };
  };
  const arms = (of: typeof ones, canaryMean: number, baselineMean: number): CanaryArms => ({
    canary: of(CANARY_ANSWERS, canaryMean),
    baseline: of(BASELINE_ANSWERS, baselineMean),
  });
  return {
    errors: arms(ones, rates.errors * load, BASELINE.errors * load),
    slow: arms(ones, rates.slow * load, BASELINE.slow * load),
    score: arms(score, rates.score, BASELINE.score),
  };
}

/** What the sequential test replaces: one-sided comparison of two proportions as if this were the only look. */
function zTestAlarms(arms: CanaryArms | undefined): boolean {
  if (arms === undefined) return false;
  const { canary, baseline } = arms;
  const pooled = (canary.sum + baseline.sum) / (canary.count + baseline.count);
  const deviation = Math.sqrt(pooled * (1 - pooled) * (1 / canary.count + 1 / baseline.count));
  return (
    deviation > 0 && normalSurvival((canary.sum / canary.count - baseline.sum / baseline.count) / deviation) < 0.05
  );
}

const share = ({ minutes, canaries }: Result, outcome: CanaryOutcome): number => minutes[outcome].length / canaries;

function rowOf(result: Result): Row {
  const percent = (value: number): string => (100 * value).toFixed(1);
  const { fail, pass } = result.minutes;
  return {
    canary: result.scenario.what,
    n: String(result.canaries),
    'fail %': percent(share(result, 'fail')),
    'pass %': percent(share(result, 'pass')),
    'inconclusive %': percent(share(result, 'inconclusive')),
    'minutes to fail p50': fail.length === 0 ? '-' : median(fail).toFixed(0),
    'to pass p50': pass.length === 0 ? '-' : median(pass).toFixed(0),
    'z-test alarms %': percent(result.naive / result.canaries),
    'look, microseconds': result.lookMicros.toFixed(0),
  };
}
