import { type TSchema, Type } from '#typebox';
import { RetrainPolicy, SIGNAL_OUTCOMES, SIGNAL_SOURCES } from '#lib/contracts/retrain-policy.ts';
import { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import { ReferenceProfile } from '#lib/statistics/reference-profile.ts';

const oneOf = <const T extends readonly string[]>(values: T) =>
  Type.Unsafe<T[number]>({ type: 'string', enum: [...values] });
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ format: 'date-time' });

export const SignalOutcomeName = oneOf(SIGNAL_OUTCOMES);

const Signal = Type.Object({
  id: Type.String({ description: "the idempotency key of the signal's retrain job" }),
  model: Type.String(),
  modelVersion: nullable(Type.Integer()),
  source: oneOf(SIGNAL_SOURCES),
  outcome: SignalOutcomeName,
  reason: nullable(Type.String({ description: 'why it was held back: BelowThreshold, Cooldown, BudgetExhausted ...' })),
  causes: Type.Array(Type.String({ description: 'feature:<name>, performance:lasting or performance:changed' })),
  evidence: Type.Unknown({ description: 'figures of the window: tests, sizes of the drift, counts' }),
  window: nullable(Type.Object({ start: Time, end: Time })),
  number: nullable(Type.Integer({ description: 'counts the signals of the model' })),
  at: Time,
  requestedBy: nullable(Type.String({ description: 'key id of the person who asked' })),
  jobId: nullable(Type.String()),
  refusal: Type.Unknown({ description: 'why the job was refused; else null' }),
  retrainEndedAt: nullable(Time),
});

export const WATCH_STATES = ['silent', 'unknownVersion', 'watching', 'drifting', 'retraining'] as const;

const Watch = Type.Object({
  model: Type.String(),
  modelVersion: Type.Integer(),
  state: Type.Unsafe<(typeof WATCH_STATES)[number]>({
    type: 'string',
    enum: [...WATCH_STATES],
    description:
      'silent: nothing observed yet; unknownVersion: no reference is stored; drifting: the last windows alarmed; retraining: a retrain of the model runs',
  }),
  driftedWindows: Type.Integer({ description: 'windows in a row that alarmed, up to now' }),
  watermark: nullable(Time),
  openWindows: Type.Array(Time, { description: 'their begins' }),
  counters: Type.Record(Type.String(), Type.Integer(), { description: 'observations by what became of them' }),
  meanScore: nullable(
    Type.Number({ description: 'of all scores since the reference was stored, on the scale 0 to 1' }),
  ),
  updatedAt: nullable(Time),
  windows: Type.Array(
    Type.Object({
      start: Time,
      end: Time,
      outcome: Type.String(),
      reason: nullable(Type.String()),
      evidence: Type.Unknown(),
    }),
    { description: 'the last ten, newest first' },
  ),
});

const page = <T extends TSchema>(items: T) =>
  Type.Object({
    items: Type.Array(items),
    nextCursor: nullable(Type.String({ description: 'null on the last page' })),
  });

/** Components of the API document. */
export const DRIFT_COMPONENTS = {
  RetrainPolicy,
  StoredRetrainPolicy: Type.Object({
    model: Type.String(),
    policy: Type.Unknown({ description: 'RetrainPolicy, with every default filled in' }),
    updatedAt: Time,
    nextFireAt: nullable(Time),
    lastFiredAt: nullable(Time),
  }),
  DriftSignal: Signal,
  DriftSignalPage: page(Signal),
  DriftWatchPage: page(Watch),
  ModelReference: Type.Object({
    model: Type.String(),
    modelVersion: Type.Integer(),
    profile: ReferenceProfile,
    performance: nullable(ReferencePerformance),
    updatedAt: Time,
  }),
  StoredReference: Type.Object({
    model: Type.String(),
    modelVersion: Type.Integer(),
    rows: Type.Integer(),
    features: Type.Integer({ description: 'that are watched' }),
    ignored: Type.Array(Type.Object({ name: Type.String(), reason: Type.String() })),
    performance: nullable(Type.Object({ scores: Type.Integer(), mean: Type.Number() })),
  }),
};
