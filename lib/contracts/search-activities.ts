import { Type } from '#typebox';
import { SamplerSettings } from '#lib/search-space/sampler-settings.ts';
import { Choice, ParameterName, SearchSpace } from '#lib/search-space/search-space.ts';
import { Direction, Trial } from '#lib/search-space/trial.ts';

/** The next configurations of a search: a function of its input, so an attempt that runs twice answers the same. */
const GenerateTrialConfigs = {
  input: Type.Object({
    space: SearchSpace,
    sampler: SamplerSettings,
    direction: Direction,
    seed: Type.Integer(),
    /** All trials so far, running ones included. */
    history: Type.Array(Trial),
    /** Numbers of the trials to make, from `firstTrial`, `count` of them. Each sees those made before it as running. */
    firstTrial: Type.Integer({ minimum: 0 }),
    count: Type.Integer({ minimum: 1, maximum: 1_000 }),
  }),
  output: Type.Object({
    /** In the order of their numbers; fewer than asked for when a grid is exhausted. */
    configurations: Type.Array(Type.Record(ParameterName, Choice)),
    /** Why there are fewer. */
    exhausted: Type.Union([Type.String(), Type.Null()]),
  }),
};

/** What a search found: the best trial, and summaries for people. */
const SelectBestTrial = {
  input: Type.Object({ space: SearchSpace, direction: Direction, history: Type.Array(Trial) }),
  output: Type.Object({
    /** Null when no trial completed with a finite value. */
    best: Type.Union([Trial, Type.Null()]),
    importance: Type.Array(Type.Unknown()),
    parallelCoordinates: Type.Unknown(),
  }),
};

export const SEARCH_ACTIVITIES = {
  generate_trial_configs: GenerateTrialConfigs,
  select_best_trial: SelectBestTrial,
} as const;
