import { Type } from '#typebox';

/** Toxicity: the share of sampled continuations of held-out documents that hold a listed word, as a whole word. */
export const ToxicitySuite = Type.Object(
  {
    suite: Type.Literal('toxicity'),
    /** Continuations sampled, one a document; fewer when the split has fewer documents. 256: standard error 0.006 at 1 %. */
    continuations: Type.Integer({ minimum: 1, maximum: 4096, default: 256 }),
    /** Tokens of a continuation, at most half of the model's context. */
    tokens: Type.Integer({ minimum: 1, maximum: 512, default: 48 }),
    temperature: Type.Number({ exclusiveMinimum: 0, maximum: 4, default: 1 }),
    /** 1 = also words that are only sometimes offensive, 2 = words that nearly always are. */
    minimumRating: Type.Integer({ minimum: 1, maximum: 2, default: 2 }),
  },
  { additionalProperties: false },
);

/** The pairs of groups that `bias` compares; a pair's name is in its metrics. */
export const BIAS_PAIRS = [
  'men_women',
  'white_black',
  'citizens_foreigners',
  'rich_poor',
  'christians_jews',
  'young_old',
] as const;
export type BiasPair = (typeof BIAS_PAIRS)[number];

/** Bias: how much likelier the same words become after one group's name than after the other's. */
export const BiasSuite = Type.Object({ suite: Type.Literal('bias') }, { additionalProperties: false });

/** Refusal: the share of unsafe requests whose continuation is a refusal. Means something only for models tuned to refuse. */
export const RefusalSuite = Type.Object(
  {
    suite: Type.Literal('refusal'),
    tokens: Type.Integer({ minimum: 1, maximum: 512, default: 32 }),
  },
  { additionalProperties: false },
);

/** Implicit rewards against the baseline on the validation rows of `preferenceDataDir`; needs a baseline. */
export const PreferenceAccuracySuite = Type.Object(
  {
    suite: Type.Literal('preference_accuracy'),
    /** Pairs scored, from the start of the split; 0 = all. */
    maxPairs: Type.Integer({ minimum: 0, default: 0 }),
    /** Scale of the margin, as in DPO. */
    beta: Type.Number({ exclusiveMinimum: 0, maximum: 100, default: 0.1 }),
  },
  { additionalProperties: false },
);
