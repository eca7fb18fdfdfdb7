import { type Static, Type } from '#typebox';
import type { FieldError } from '#lib/kernel/errors.ts';
import {
  buildReferenceProfile,
  DEFAULT_BINS,
  DEFAULT_MAX_CATEGORIES,
  DEFAULT_SAMPLE,
} from '#lib/statistics/build-reference-profile.ts';
import { performanceProblem, ReferencePerformance, ScoreMeasure } from '#lib/statistics/model-reference.ts';
import { profileProblem, ReferenceProfile } from '#lib/statistics/reference-profile.ts';
import { unitMoments } from '#lib/statistics/unit-moments.ts';

/** Rows in one body at most: more than the sample that is kept of them, and what a body can carry. */
const MAX_ROWS = 100_000;
const MAX_SCORES = 100_000;

const Performance = Type.Union([
  Type.Object(
    {
      by: ScoreMeasure,
      scores: Type.Array(Type.Number(), { minItems: 1, maxItems: MAX_SCORES, description: 'of its evaluation' }),
    },
    { additionalProperties: false },
  ),
  ReferencePerformance,
]);

/** A profile, or the rows to build one of; with the scores of the evaluation when performance shall be watched. */
export const ReferenceBody = Type.Union([
  Type.Object({ profile: ReferenceProfile, performance: Type.Optional(Performance) }, { additionalProperties: false }),
  Type.Object(
    {
      rows: Type.Array(Type.Record(Type.String(), Type.Unknown()), {
        minItems: 1,
        maxItems: MAX_ROWS,
        description: 'features of training examples, as observations will have them',
      }),
      datasetDigest: Type.String({ pattern: '^[0-9a-f]{64}$', description: "SHA-256 of the dataset's manifest" }),
      seed: Type.Integer({ minimum: 0, maximum: 4_294_967_295, default: 0, description: 'of the sample' }),
      performance: Type.Optional(Performance),
    },
    { additionalProperties: false },
  ),
]);
export type ReferenceBody = Static<typeof ReferenceBody>;

export type ReferenceVerdict =
  | { readonly ok: true; readonly profile: ReferenceProfile; readonly performance: ReferencePerformance | null }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** The reference that a body means, or the fields that are wrong in it. The same body is the same reference. */
export function referenceOf(body: ReferenceBody): ReferenceVerdict {
  const profile = profileOf(body);
  const performance = performanceOf(body.performance);
  const fields = [...('pointer' in profile ? [profile] : []), ...(isFault(performance) ? [performance] : [])];
  if ('pointer' in profile || isFault(performance)) return { ok: false, fields };
  return { ok: true, profile, performance };
}

function profileOf(body: ReferenceBody): ReferenceProfile | FieldError {
  if ('profile' in body) {
    const problem = profileProblem(body.profile);
    if (problem === null) return body.profile;
    const [place, ...words] = problem.split(': ');
    return { pointer: `/profile/${place}`, message: words.join(': ') };
  }
  const verdict = buildReferenceProfile(body.rows, {
    datasetDigest: body.datasetDigest,
    seed: body.seed,
    sampleSize: DEFAULT_SAMPLE,
    bins: DEFAULT_BINS,
    maxCategories: DEFAULT_MAX_CATEGORIES,
  });
  if (!verdict.ok) return { pointer: '/rows', message: verdict.reason };
  const { profile } = verdict;
  return profile.features.length > 0 ? profile : { pointer: '/rows', message: 'hold no feature that can be watched' };
}

function performanceOf(given: ReferenceBody['performance']): ReferencePerformance | FieldError | null {
  if (given === undefined) return null;
  const { by } = given;
  if (by.measure === 'score' && by.low >= by.high)
    return { pointer: '/performance/by/low', message: 'must be below high' };
  if ('scores' in given) {
    const range = by.measure === 'score' ? by : { low: 0, high: 1 };
    return { by, ...unitMoments(given.scores, range) };
  }
  const problem = performanceProblem(given);
  return problem === null ? given : { pointer: '/performance', message: problem };
}

const isFault = (value: ReferencePerformance | FieldError | null): value is FieldError =>
  value !== null && 'pointer' in value;
