import { type TSchema, Type } from '#typebox';
import { STAGES } from '#lib/model-registry/port.ts';

/** Components of the routes about promotions and canaries; part of `COMPONENTS` in schemas.ts. */
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ format: 'date-time', examples: ['2026-11-24T09:30:00.000Z'] });

export const StageName = Type.Unsafe<(typeof STAGES)[number]>({ type: 'string', enum: [...STAGES] });

export const Promotion = Type.Object({
  project: Type.String(),
  model: Type.String(),
  seq: Type.Integer({ description: 'from 1 per model, without gaps' }),
  version: Type.Integer(),
  stage: StageName,
  kind: Type.Unsafe<'promote' | 'rollback'>({ type: 'string', enum: ['promote', 'rollback'] }),
  formerVersion: nullable(Type.Integer({ description: 'was prod until then and is archived since' })),
  jobId: nullable(Type.String({ description: 'null: a person asked' })),
  requestedBy: Type.String(),
  reason: Type.String(),
  at: Time,
  syncedAt: nullable(Type.String({ format: 'date-time', description: 'when the model registry showed it' })),
});

const Split = Type.Object({
  jobId: Type.String(),
  canaryVersion: Type.Integer(),
  baselineVersion: Type.Integer(),
  weightPercent: Type.Number({ minimum: 0, maximum: 100 }),
  startedAt: Time,
  endedAt: nullable(Time),
  outcome: nullable(Type.String({ description: 'null while the split is open' })),
  watch: Type.Unknown({
    description: 'what the canary watch saw last: arms, evidence per metric, outcome; null before its first look',
  }),
});

export const ModelTraffic = Type.Object({
  project: Type.String(),
  model: Type.String(),
  prodVersion: nullable(Type.Integer({ description: 'answers whoever no canary answers' })),
  split: nullable(Split),
  pastSplits: Type.Array(Split),
});
