import { type Static, Type } from '#typebox';

/** How a search chooses its next configuration. */
export const SamplerSettings = Type.Union([
  Type.Object({ type: Type.Literal('grid') }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal('random') }, { additionalProperties: false }),
  Type.Object(
    {
      type: Type.Literal('tpe'),
      /** Random trials until this many have finished (completed or pruned). */
      startupTrials: Type.Integer({ minimum: 1, maximum: 1_000, default: 10 }),
      /** Points drawn from l(x), of which the best by l(x)/g(x) is tried. */
      candidates: Type.Integer({ minimum: 1, maximum: 1_000, default: 24 }),
    },
    { additionalProperties: false },
  ),
]);
export type SamplerSettings = Static<typeof SamplerSettings>;
export type TpeSettings = Extract<SamplerSettings, { type: 'tpe' }>;
