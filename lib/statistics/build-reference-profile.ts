import { mulberry32 } from '#lib/kernel/random.ts';
import { binOf, quantileEdges } from './quantile-bins.ts';
import { evenQuantiles } from './two-sample-ks.ts';
import {
  type CategoricalReference,
  MAX_FEATURES,
  MAX_QUANTILES,
  type NumericReference,
  type ReferenceProfile,
} from './reference-profile.ts';

/** The features of one example or observation: parsed JSON. */
export type FeatureRow = Readonly<Record<string, unknown>>;

export interface ProfileOptions {
  readonly datasetDigest: string;
  readonly seed: number;
  /** Rows of the sample; see `DEFAULT_SAMPLE`. */
  readonly sampleSize: number;
  readonly bins: number;
  readonly maxCategories: number;
}

/**
 * Rows sampled while a profile is built. The sample stands for the training data, so its luck is part of every later comparison. Alarm rates of single references at
 * nominal 1 %, windows of 512, one feature (10 to 12 simulated references, 2,000 to 4,000 windows each): 1,021 rows 0.15 to 20 %, 4,096 rows
 * 0.5 to 1.05 %, 32,768 rows 0.6 to 1.15 %, of which chance alone makes 0.2. 13 MB for 50 features while building.
 */
export const DEFAULT_SAMPLE = 32_768;
/** The usual number of the stability index. */
export const DEFAULT_BINS = 10;
export const DEFAULT_MAX_CATEGORIES = 50;

/** Different values of one feature that are counted; what comes after goes to `other`. Bounds memory for a feature that is really an id. */
const MAX_TRACKED_VALUES = 1_000;
/** Bounds the memory of building: 130 MB for 500 features. */
const MAX_SAMPLE = 32_768;
/** A value is shown, stored and compared up to this length. */
const MAX_VALUE_LENGTH = 1_000;

export type ProfileVerdict =
  | { readonly ok: true; readonly profile: ReferenceProfile }
  | { readonly ok: false; readonly reason: string };

/**
 * One pass over the rows of a training dataset. Numbers are numeric features, texts and booleans categorical ones; null or absent is missing. A feature that is neither,
 * or both, is listed in `ignored`. Memory: sampleSize numbers per feature, whatever the number of rows. The same rows, order and seed give the same profile.
 */
export function buildReferenceProfile(rows: Iterable<FeatureRow>, options: ProfileOptions): ProfileVerdict {
  if (!Number.isInteger(options.sampleSize) || options.sampleSize < 1 || options.sampleSize > MAX_SAMPLE)
    return { ok: false, reason: `sampleSize is a whole number from 1 to ${MAX_SAMPLE}` };
  const random = mulberry32(options.seed);
  const columns = new Map<string, Column>();
  let seen = 0;
  for (const row of rows) {
    // Algorithm R (Vitter 1985): every row ends in the sample with the same chance.
    const slot = seen < options.sampleSize ? seen : Math.floor(random.next() * (seen + 1));
    for (const [name, value] of Object.entries(row)) {
      if (value === null || value === undefined) continue;
      let column = columns.get(name);
      if (column === undefined) {
        if (columns.size === MAX_FEATURES) return { ok: false, reason: `more than ${MAX_FEATURES} features` };
        column = new Column(options.sampleSize);
        columns.set(name, column);
      }
      column.take(value, seen, slot);
    }
    // A row that leaves the sample leaves it in every column, also where the new one has no value.
    if (slot < options.sampleSize) for (const column of columns.values()) column.vacate(seen, slot);
    seen++;
  }
  if (seen === 0) return { ok: false, reason: 'the dataset has no rows' };
  return { ok: true, profile: assemble(columns, seen, options) };
}

function assemble(columns: ReadonlyMap<string, Column>, rows: number, options: ProfileOptions): ReferenceProfile {
  const features: (NumericReference | CategoricalReference)[] = [];
  const ignored: { name: string; reason: string }[] = [];
  for (const name of [...columns.keys()].sort()) {
    const column = columns.get(name) as Column;
    const problem = name === '' || name.length > 200 ? 'its name is empty or too long' : column.problem();
    if (problem !== null) ignored.push({ name: name.slice(0, 200), reason: problem });
    else if (column.texts > 0) features.push(column.categorical(name, rows, options.maxCategories));
    else features.push(column.numeric(name, rows, options.bins));
  }
  const { datasetDigest, seed } = options;
  return { format: 'trainyard-reference-profile/1', datasetDigest, rows, seed, features, ignored };
}

/** What is remembered of one feature while rows go by. */
class Column {
  numbers = 0;
  texts = 0;
  others = 0;
  #sum = 0;
  #minimum = Infinity;
  #maximum = -Infinity;
  #untracked = 0;
  #lastRow = -1;
  readonly #sample: Float64Array;
  readonly #values = new Map<string, number>();

  constructor(sampleSize: number) {
    this.#sample = new Float64Array(sampleSize).fill(Number.NaN);
  }

  take(value: unknown, row: number, slot: number): void {
    if (typeof value === 'number' && Number.isFinite(value)) {
      this.numbers++;
      this.#sum += value;
      this.#minimum = Math.min(this.#minimum, value);
      this.#maximum = Math.max(this.#maximum, value);
      this.#lastRow = row;
      if (slot < this.#sample.length) this.#sample[slot] = value;
    } else if (typeof value === 'string' || typeof value === 'boolean') {
      this.texts++;
      const key = categoryOf(value);
      const before = this.#values.get(key);
      if (before === undefined && this.#values.size === MAX_TRACKED_VALUES) this.#untracked++;
      else this.#values.set(key, (before ?? 0) + 1);
    } else this.others++;
  }

  vacate(row: number, slot: number): void {
    if (this.#lastRow !== row) this.#sample[slot] = Number.NaN;
  }

  problem(): string | null {
    if (this.others > 0) return 'it holds lists, objects or numbers without a value';
    if (this.numbers > 0 && this.texts > 0) return 'it holds numbers and texts';
    // Only when it is so rare that no row of the sample has it.
    if (this.numbers > 0 && this.#sample.every((value) => Number.isNaN(value))) return 'too few rows have it';
    return null;
  }

  numeric(name: string, rows: number, bins: number): NumericReference {
    const sample = this.#sample.filter((value) => !Number.isNaN(value)).sort();
    const edges = quantileEdges(sample, bins);
    const binCounts = Array.from({ length: edges.length + 1 }, () => 0);
    for (const value of sample) binCounts[binOf(edges, value)] = (binCounts[binOf(edges, value)] as number) + 1;
    return {
      kind: 'numeric',
      name,
      present: this.numbers,
      missing: rows - this.numbers,
      minimum: this.#minimum,
      maximum: this.#maximum,
      mean: this.#sum / this.numbers,
      edges: [...edges],
      sampled: sample.length,
      binCounts,
      quantiles: [...evenQuantiles(sample, MAX_QUANTILES)],
    };
  }

  categorical(name: string, rows: number, maxCategories: number): CategoricalReference {
    const byCount = [...this.#values].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const kept = byCount.slice(0, maxCategories);
    const other = byCount.slice(maxCategories).reduce((sum, [, count]) => sum + count, this.#untracked);
    return {
      kind: 'categorical',
      name,
      present: this.texts,
      missing: rows - this.texts,
      categories: kept.map(([category]) => category),
      counts: kept.map(([, count]) => count),
      other,
    };
  }
}

/** The name a text or boolean is counted under. */
export const categoryOf = (value: string | boolean): string => String(value).slice(0, MAX_VALUE_LENGTH);
