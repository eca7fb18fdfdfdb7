import { invariant } from '#lib/kernel/errors.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { binOf } from '#lib/statistics/quantile-bins.ts';
import { categoryOf, type FeatureRow } from '#lib/statistics/build-reference-profile.ts';
import type { CategoricalReference, NumericReference, ReferenceProfile } from '#lib/statistics/reference-profile.ts';

/** Observations of a window that the Kolmogorov-Smirnov test looks at: enough to see a shift of a fifth of a standard deviation, few enough not to cry over a twentieth. */
export const WINDOW_SAMPLE = 512;

/** A numeric feature's window so far. `sample` is in no order and holds NaN where the value is missing. */
export interface NumericWindow {
  readonly reference: NumericReference;
  /** The reference's quantiles. */
  readonly training: Float64Array;
  readonly edges: Float64Array;
  readonly bins: Float64Array;
  readonly sample: Float64Array;
  present: number;
  missing: number;
}

/** A categorical feature's window so far; the last count is that of all values the reference does not name. */
export interface CategoricalWindow {
  readonly reference: CategoricalReference;
  readonly indexes: ReadonlyMap<string, number>;
  readonly counts: Float64Array;
  present: number;
  missing: number;
}

/** JSON: what has to be stored to go on after a restart. */
export interface WindowSnapshot {
  readonly observations: number;
  readonly malformed: number;
  readonly random: number;
  readonly features: readonly {
    readonly name: string;
    readonly present: number;
    readonly missing: number;
    readonly counts: readonly number[];
    /** Null where the value is missing. */
    readonly sample: readonly (number | null)[];
  }[];
}

/**
 * One window of production observations against a profile: counters and a bounded sample, so that its size is the same after a thousand and after a billion
 * observations. The same observations, order and seed give the same sketch; `observe` allocates nothing.
 */
export class WindowSketch {
  readonly numeric: readonly NumericWindow[];
  readonly categorical: readonly CategoricalWindow[];
  observations = 0;
  /** Values of another kind than the reference's, counted as missing too. */
  malformed = 0;
  #random: RandomStream;

  constructor(profile: ReferenceProfile, seed: number) {
    this.#random = mulberry32(seed);
    this.numeric = profile.features.filter((feature) => feature.kind === 'numeric').map(numericWindow);
    this.categorical = profile.features.filter((feature) => feature.kind === 'categorical').map(categoricalWindow);
  }

  observe(row: FeatureRow): void {
    // One draw for the row and not one per feature: 50 features would cost 50.
    const seen = this.observations++;
    const slot = seen < WINDOW_SAMPLE ? seen : Math.floor(this.#random.next() * (seen + 1));
    for (const feature of this.numeric) {
      const value = row[feature.reference.name];
      const usable = typeof value === 'number' && Number.isFinite(value);
      if (slot < WINDOW_SAMPLE) feature.sample[slot] = usable ? value : Number.NaN;
      if (usable) {
        feature.present++;
        const bin = binOf(feature.edges, value);
        feature.bins[bin] = (feature.bins[bin] as number) + 1;
      } else this.#missed(feature, value);
    }
    for (const feature of this.categorical) {
      const value = row[feature.reference.name];
      if (typeof value === 'string' || typeof value === 'boolean') {
        feature.present++;
        const index = feature.indexes.get(categoryOf(value)) ?? feature.counts.length - 1;
        feature.counts[index] = (feature.counts[index] as number) + 1;
      } else this.#missed(feature, value);
    }
  }

  #missed(feature: NumericWindow | CategoricalWindow, value: unknown): void {
    feature.missing++;
    if (value !== null && value !== undefined) this.malformed++;
  }

  snapshot(): WindowSnapshot {
    const sampled = Math.min(this.observations, WINDOW_SAMPLE);
    const numeric = this.numeric.map(({ reference: { name }, present, missing, bins, sample }) => {
      const values = Array.from(sample.subarray(0, sampled), (value) => (Number.isNaN(value) ? null : value));
      return { name, present, missing, counts: [...bins], sample: values };
    });
    const categorical = this.categorical.map(({ reference: { name }, present, missing, counts }) => {
      return { name, present, missing, counts: [...counts], sample: [] };
    });
    const { observations, malformed } = this;
    return { observations, malformed, random: this.#random.state(), features: [...numeric, ...categorical] };
  }

  /** Goes on where a snapshot was taken. The profile must be the one it was taken with. */
  static restore(profile: ReferenceProfile, snapshot: WindowSnapshot): WindowSketch {
    const sketch = new WindowSketch(profile, snapshot.random);
    sketch.observations = snapshot.observations;
    sketch.malformed = snapshot.malformed;
    const stored = new Map(snapshot.features.map((feature) => [feature.name, feature]));
    for (const feature of [...sketch.numeric, ...sketch.categorical]) {
      const from = stored.get(feature.reference.name);
      const counts = 'bins' in feature ? feature.bins : feature.counts;
      invariant(
        from?.counts.length === counts.length,
        `the snapshot of ${feature.reference.name} is of another profile`,
      );
      feature.present = from.present;
      feature.missing = from.missing;
      counts.set(from.counts);
      if ('sample' in feature) feature.sample.set(from.sample.map((value) => value ?? Number.NaN));
    }
    return sketch;
  }
}

const numericWindow = (reference: NumericReference): NumericWindow => ({
  reference,
  training: Float64Array.from(reference.quantiles),
  edges: Float64Array.from(reference.edges),
  bins: new Float64Array(reference.binCounts.length),
  sample: new Float64Array(WINDOW_SAMPLE).fill(Number.NaN),
  present: 0,
  missing: 0,
});

const categoricalWindow = (reference: CategoricalReference): CategoricalWindow => ({
  reference,
  indexes: new Map(reference.categories.map((category, at) => [category, at])),
  counts: new Float64Array(reference.categories.length + 1),
  present: 0,
  missing: 0,
});
