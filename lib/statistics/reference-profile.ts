import { type Static, Type } from '#typebox';

/** Features of a profile at most: the window's sample holds this many columns. */
export const MAX_FEATURES = 500;

/** Quantiles of a numeric feature at most: 4,096 place the distribution function to 0.00012 and make some 70 kB of JSON. */
export const MAX_QUANTILES = 4_096;

const Count = Type.Integer({ minimum: 0 });
const FeatureName = Type.String({ minLength: 1, maxLength: 200 });

const NumericReference = Type.Object(
  {
    kind: Type.Literal('numeric'),
    name: FeatureName,
    present: Count,
    missing: Count,
    minimum: Type.Number(),
    maximum: Type.Number(),
    mean: Type.Number(),
    /** Inner edges of the quantile bins, ascending; bin i holds what is above edge i - 1 and at most edge i. */
    edges: Type.Array(Type.Number(), { maxItems: 1_000 }),
    /** Values that were sampled, by chance among all rows. */
    sampled: Type.Integer({ minimum: 1 }),
    /** Sampled values in each bin: one more than edges. */
    binCounts: Type.Array(Count, { minItems: 1, maxItems: 1_001 }),
    /** The sampled values, ascending; evenly spaced quantiles of them when there are more than the limit. */
    quantiles: Type.Array(Type.Number(), { minItems: 1, maxItems: MAX_QUANTILES }),
  },
  { additionalProperties: false },
);
export type NumericReference = Static<typeof NumericReference>;

const CategoricalReference = Type.Object(
  {
    kind: Type.Literal('categorical'),
    name: FeatureName,
    present: Count,
    missing: Count,
    /** The most frequent values, most frequent first. */
    categories: Type.Array(Type.String({ maxLength: 1_000 }), { minItems: 1, maxItems: 1_000, uniqueItems: true }),
    /** Rows of each category. */
    counts: Type.Array(Count, { minItems: 1, maxItems: 1_000 }),
    /** Rows of all other values. */
    other: Count,
  },
  { additionalProperties: false },
);
export type CategoricalReference = Static<typeof CategoricalReference>;

/** What a model saw in training, feature by feature: stored with the model version, compared with production. Its size does not grow with the dataset. */
export const ReferenceProfile = Type.Object(
  {
    format: Type.Literal('trainyard-reference-profile/1'),
    /** SHA-256 of the dataset's manifest. */
    datasetDigest: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    rows: Type.Integer({ minimum: 1 }),
    /** Of the sample. */
    seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295 }),
    /** By name. */
    features: Type.Array(Type.Union([NumericReference, CategoricalReference]), { maxItems: MAX_FEATURES }),
    /** Features that no test watches, and why. */
    ignored: Type.Array(Type.Object({ name: Type.String(), reason: Type.String() }, { additionalProperties: false })),
  },
  { additionalProperties: false },
);
export type ReferenceProfile = Static<typeof ReferenceProfile>;

/** Why a stored profile of the right shape cannot be used, or null: what a schema cannot say. */
export function profileProblem(profile: ReferenceProfile): string | null {
  for (const [at, feature] of profile.features.entries()) {
    if (at > 0 && feature.name <= (profile.features[at - 1]?.name ?? ''))
      return `features/${at}: doubled or out of order`;
    if (feature.kind === 'categorical') {
      if (feature.counts.length !== feature.categories.length) return `features/${at}: one count per category`;
      continue;
    }
    if (feature.binCounts.length !== feature.edges.length + 1) return `features/${at}: one count per bin`;
    if (feature.quantiles.length > feature.sampled) return `features/${at}: more quantiles than sampled values`;
    if (!ascends(feature.quantiles)) return `features/${at}: the quantiles are not ascending`;
    if (!ascends(feature.edges)) return `features/${at}: the edges are not ascending`;
  }
  return null;
}

const ascends = (values: readonly number[]): boolean =>
  values.every((value, at) => at === 0 || value >= (values[at - 1] as number));
