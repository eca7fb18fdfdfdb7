import { chiSquareHomogeneity } from '#lib/statistics/chi-square.ts';
import { jensenShannonDistance, wassersteinDistance } from '#lib/statistics/distances.ts';
import { benjaminiHochberg } from '#lib/statistics/false-discovery.ts';
import { populationStability } from '#lib/statistics/population-stability.ts';
import { ksAgainstQuantiles, twoSampleKs } from '#lib/statistics/two-sample-ks.ts';
import type { CategoricalWindow, NumericWindow, WindowSketch } from './window-sketch.ts';

export interface JudgePolicy {
  /** False discovery rate over the features: without drift, the chance that a window alarms at all. */
  readonly falseDiscoveryRate: number;
  /** Below it a window is not judged, and a feature with fewer values is not tested. */
  readonly minimumObservations: number;
  /** Drift smaller than this Jensen-Shannon distance (0 to 0.83) is no alarm, however certain. 0 leaves it to the tests. */
  readonly smallestDistance: number;
}

export interface FeatureResult {
  readonly feature: string;
  readonly kind: 'numeric' | 'categorical';
  readonly present: number;
  readonly missing: number;
  readonly test: 'kolmogorov-smirnov' | 'chi-square' | 'not tested';
  /** Largest distance of the distribution functions, or chi-square; null when not tested. */
  readonly statistic: number | null;
  /** Of that test, and of the share of missing values where any is missing. Null when not tested. */
  readonly pValue: number | null;
  /** Benjamini-Hochberg over the tested features. */
  readonly adjustedPValue: number | null;
  readonly drifted: boolean;
  /** Sizes of the drift, for people. Null when the feature had no value. */
  readonly stabilityIndex: number | null;
  readonly stabilityPValue: number | null;
  readonly jensenShannon: number | null;
  /** In the feature's own unit; numeric features only. */
  readonly wasserstein: number | null;
}

export interface WindowJudgement {
  readonly observations: number;
  readonly malformed: number;
  /** False: too few observations; then nothing drifted. */
  readonly judged: boolean;
  /** By p-value, smallest first; untested last. */
  readonly features: readonly FeatureResult[];
  /** Names of the drifted features, most certain first. */
  readonly drifted: readonly string[];
}

/** Compares a window with its profile, feature by feature. The order of the observations within the window does not matter beyond the sample's choice. */
export function judgeWindow(sketch: WindowSketch, policy: JudgePolicy): WindowJudgement {
  const { observations, malformed } = sketch;
  const measured = [
    ...sketch.numeric.map((feature) => measureNumeric(feature, policy)),
    ...sketch.categorical.map((feature) => measureCategorical(feature, policy)),
  ];
  const judged = observations >= policy.minimumObservations;
  const tested = judged ? measured.filter(({ pValue }) => pValue !== null) : [];
  const adjusted = benjaminiHochberg(tested.map(({ pValue }) => pValue ?? 1));
  const adjustedOf = new Map(tested.map(({ feature }, at) => [feature, adjusted[at] ?? 1]));
  const features = measured
    .map((result) => {
      const adjustedPValue = adjustedOf.get(result.feature) ?? null;
      const certain = adjustedPValue !== null && adjustedPValue <= policy.falseDiscoveryRate;
      return { ...result, adjustedPValue, drifted: certain && (result.jensenShannon ?? 1) >= policy.smallestDistance };
    })
    .sort((a, b) => (a.pValue ?? 2) - (b.pValue ?? 2) || (a.feature < b.feature ? -1 : 1));
  const drifted = features.filter((result) => result.drifted).map(({ feature }) => feature);
  return { observations, malformed, judged, features, drifted };
}

type Measured = Omit<FeatureResult, 'adjustedPValue' | 'drifted'>;

function measureNumeric(feature: NumericWindow, policy: JudgePolicy): Measured {
  const { reference, training, present, missing, bins } = feature;
  const window = feature.sample.filter((value) => !Number.isNaN(value)).sort();
  const sizes = present === 0 ? null : sizesOfDrift(reference.binCounts, bins);
  const about = { feature: reference.name, kind: 'numeric' as const, present, missing, ...(sizes ?? NO_SIZES) };
  const wasserstein = window.length === 0 ? null : wassersteinDistance(training, window);
  const share = missingShare(feature);
  if (window.length < Math.min(policy.minimumObservations, feature.sample.length)) {
    // That values stopped coming is drift, and all that can be said.
    const pValue = share === null || present + missing < policy.minimumObservations ? null : share;
    const test = pValue === null ? ('not tested' as const) : ('chi-square' as const);
    return { ...about, test, statistic: null, pValue, wasserstein };
  }
  const whole = reference.sampled === training.length;
  const { statistic, pValue } = whole
    ? twoSampleKs(training, window)
    : ksAgainstQuantiles(training, reference.sampled, window);
  return { ...about, test: 'kolmogorov-smirnov', statistic, pValue: either(pValue, share), wasserstein };
}

function measureCategorical(feature: CategoricalWindow, policy: JudgePolicy): Measured {
  const { reference, present, missing, counts } = feature;
  const training = [...reference.counts, reference.other];
  const sizes = present === 0 ? null : sizesOfDrift(training, counts);
  const about = { feature: reference.name, kind: 'categorical' as const, present, missing, wasserstein: null };
  if (present + missing < policy.minimumObservations)
    return { ...about, ...(sizes ?? NO_SIZES), test: 'not tested', statistic: null, pValue: null };
  // Missing is one more category.
  const { statistic, pValue } = chiSquareHomogeneity([...training, reference.missing], [...counts, missing]);
  return { ...about, ...(sizes ?? NO_SIZES), test: 'chi-square', statistic, pValue };
}

const NO_SIZES = { stabilityIndex: null, stabilityPValue: null, jensenShannon: null };

function sizesOfDrift(reference: ArrayLike<number>, window: ArrayLike<number>) {
  const { index, pValue } = populationStability(reference, window);
  return {
    stabilityIndex: index,
    stabilityPValue: pValue,
    jensenShannon: jensenShannonDistance(reference, window),
  };
}

/** P-value of the share of missing values; null when none is missing on either side: then there is nothing to test. */
function missingShare({ reference, present, missing }: NumericWindow): number | null {
  if (reference.missing + missing === 0 || present + missing === 0) return null;
  return chiSquareHomogeneity([reference.present, reference.missing], [present, missing]).pValue;
}

/** Two tests of one feature: the smaller p-value, doubled (Bonferroni). */
const either = (a: number, b: number | null): number => (b === null ? a : Math.min(1, 2 * Math.min(a, b)));
