import { type Static, Type } from '#typebox';

/** Checks at `warmUpSteps`, then every `everySteps`; a report that comes later is checked then. */
const checkPoints = (warmUpSteps: number, everySteps: number) => ({
  warmUpSteps: Type.Integer({ minimum: 0, default: warmUpSteps }),
  everySteps: Type.Integer({ minimum: 1, default: everySteps }),
});

/** Trials that must have passed the same check, the judged one included, before any is dropped. */
const minimumTrials = Type.Integer({ minimum: 2, default: 4 });

const completedOnly = {
  ...checkPoints(0, 1),
  /** Completed trials before any is pruned. */
  startupTrials: Type.Integer({ minimum: 0, default: 5 }),
  /** Completed trials that reported at exactly the step. */
  minimumPeers: Type.Integer({ minimum: 1, default: 1 }),
};

/** How a search decides which trials to stop; `docs/decisions/0010-hyper-parameter-search.md` says when to take which. */
export const PruningSettings = Type.Union([
  Type.Object({ strategy: Type.Literal('none') }, { additionalProperties: false }),
  Type.Object(
    {
      strategy: Type.Literal('livePercentile'),
      /** Share of the trials at a check that is dropped. */
      drop: Type.Number({ exclusiveMinimum: 0, exclusiveMaximum: 1, default: 0.25 }),
      ...checkPoints(5, 5),
      minimumTrials,
    },
    { additionalProperties: false },
  ),
  Type.Object(
    { strategy: Type.Literal('liveMedian'), ...checkPoints(5, 5), minimumTrials },
    { additionalProperties: false },
  ),
  Type.Object({ strategy: Type.Literal('median'), ...completedOnly }, { additionalProperties: false }),
  Type.Object(
    {
      strategy: Type.Literal('percentile'),
      /** The best so many percent are kept, 0 to 100. */
      percentile: Type.Number({ minimum: 0, maximum: 100, default: 25 }),
      ...completedOnly,
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      strategy: Type.Literal('asha'),
      /** First rung; the next ones are at this times `reductionFactor`, `reductionFactor` squared and so on. */
      minimumSteps: Type.Integer({ minimum: 1, default: 5 }),
      /** One in so many goes on to the next rung. */
      reductionFactor: Type.Integer({ minimum: 2, maximum: 100, default: 3 }),
    },
    { additionalProperties: false },
  ),
]);
export type PruningSettings = Static<typeof PruningSettings>;

export type PruningStrategy = PruningSettings['strategy'];
export type SettingsOf<S extends PruningStrategy> = Extract<PruningSettings, { strategy: S }>;
