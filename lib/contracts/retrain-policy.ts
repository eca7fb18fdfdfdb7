import { type Static, Type } from '#typebox';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Longest time anything may be set to; longer is "never", which has switches of its own. */
const YEAR_MS = 366 * DAY_MS;

/** How a model's production is watched; every member has a default. Times are milliseconds. */
export const DriftSettings = Type.Object(
  {
    windowMs: Type.Integer({
      minimum: 1_000,
      maximum: 31 * DAY_MS,
      default: HOUR_MS,
      description: 'length of a window; windows begin at its multiples since the epoch',
    }),
    latenessMs: Type.Integer({
      minimum: 0,
      maximum: DAY_MS,
      default: 5 * MINUTE_MS,
      description: 'how long a window stays open for what comes late',
    }),
    minimumObservations: Type.Integer({
      minimum: 30,
      maximum: 1_000_000,
      default: 200,
      description: 'a window with fewer is not judged',
    }),
    falseAlarmRate: Type.Number({
      exclusiveMinimum: 0,
      maximum: 0.2,
      default: 0.01,
      description: 'share of windows without drift that alarm, over all features together',
    }),
    smallestDistance: Type.Number({
      minimum: 0,
      maximum: 0.83,
      default: 0,
      description: 'drift below this Jensen-Shannon distance is no alarm, however certain',
    }),
    persistentWindows: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 3,
      description: 'windows in a row that must alarm',
    }),
    cooldownMs: Type.Integer({
      minimum: 0,
      maximum: YEAR_MS,
      default: DAY_MS,
      description: 'no drift signal earlier than this after the last signal of any kind',
    }),
    signalBudget: Type.Integer({
      minimum: 0,
      maximum: 1_000,
      default: 4,
      description: 'signals within `budgetPeriodMs` at most, whoever asks',
    }),
    budgetPeriodMs: Type.Integer({ minimum: MINUTE_MS, maximum: YEAR_MS, default: 7 * DAY_MS }),
    retrainTimeoutMs: Type.Integer({
      minimum: MINUTE_MS,
      maximum: YEAR_MS,
      default: 3 * DAY_MS,
      description: 'a retrain whose end nobody reported stops holding others up after this',
    }),
    performanceMargin: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.05,
      description: 'loss of the mean score that is tolerated, on the scale 0 to 1',
    }),
    windowsBetweenFalseDegradations: Type.Integer({
      minimum: 10,
      maximum: 1_000_000,
      default: 1_000,
      description: 'windows between two false alarms of degradation, on average at least',
    }),
  },
  { additionalProperties: false, default: {} },
);
export type DriftSettings = Static<typeof DriftSettings>;

export const MISSED_RUNS = ['skip', 'runOnce'] as const;
export type MissedRuns = (typeof MISSED_RUNS)[number];

const RetrainSchedule = Type.Object(
  {
    cron: Type.String({
      minLength: 1,
      maxLength: 200,
      description: 'minute, hour, day of month, month, day of week; or @daily and the like',
      examples: ['0 3 * * MON'],
    }),
    timeZone: Type.String({ minLength: 1, maxLength: 64, default: 'UTC', description: 'IANA name' }),
    missedRuns: Type.Unsafe<MissedRuns>({
      type: 'string',
      enum: [...MISSED_RUNS],
      default: 'skip',
      description: 'what becomes of runs that fell into an outage: none of them, or one for all of them',
    }),
  },
  { additionalProperties: false },
);

/** When a model is trained again, and as which job. One per model. */
export const RetrainPolicy = Type.Object(
  {
    spec: Type.Unknown({
      description:
        'the `spec` of the retrain job, checked as POST /v1/jobs checks it; `model` and `reason` are filled in',
    }),
    enabled: Type.Boolean({ default: true, description: 'false: drift is watched and shown, nothing is trained' }),
    drift: DriftSettings,
    schedule: Type.Optional(RetrainSchedule),
  },
  {
    additionalProperties: false,
    examples: [
      {
        spec: {
          training: {
            dataset: { name: 'speeches' },
            base: { model: 'speeches@prod' },
            method: 'full',
            model: { name: 'speeches' },
            hyperparameters: { maxSteps: 300, learningRate: 0.004 },
            evaluation: { suites: [{ suite: 'held_out_text' }] },
          },
          comparison: {
            dataset: { name: 'recent-speeches' },
            suites: [{ suite: 'held_out_text' }],
            metric: 'held_out.bits_per_byte',
          },
          release: { promote: true },
        },
        drift: { windowMs: HOUR_MS, persistentWindows: 3 },
        schedule: { cron: '0 3 * * MON', timeZone: 'Europe/Berlin', missedRuns: 'runOnce' },
      },
    ],
  },
);
export type RetrainPolicy = Static<typeof RetrainPolicy>;

export const SIGNAL_SOURCES = ['drift', 'schedule', 'manual'] as const;
export type SignalSource = (typeof SIGNAL_SOURCES)[number];

/** What became of a signal: asked for and not decided yet; sent; or held back, with a reason. */
export const SIGNAL_OUTCOMES = ['requested', 'signalled', 'suppressed'] as const;
export type SignalOutcome = (typeof SIGNAL_OUTCOMES)[number];

/** A signal's id is its retrain job's idempotency key. */
export const SIGNAL_ID = /^[A-Za-z0-9._-]{1,128}$/;
