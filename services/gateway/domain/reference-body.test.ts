import { Value } from '#typebox/value';
import { expect, it } from 'vitest';
import { ReferenceBody, referenceOf } from './reference-body.ts';

const datasetDigest = 'd'.repeat(64);
const rows = Array.from({ length: 50 }, (_, n) => ({ length: n, language: n % 3 === 0 ? 'de' : 'en' }));
const bodyOf = (body: object): ReferenceBody => {
  const filled = Value.Default(ReferenceBody, Value.Clone(body)) as ReferenceBody;
  expect([...Value.Errors(ReferenceBody, filled)]).toEqual([]);
  return filled;
};
const pointersOf = (body: object): string[] => {
  const verdict = referenceOf(bodyOf(body));
  return verdict.ok ? [] : verdict.fields.map(({ pointer }) => pointer);
};

it('rows become a profile, which is a body itself and means the same', () => {
  const built = referenceOf(
    bodyOf({ rows, datasetDigest, performance: { by: { measure: 'accuracy' }, scores: [1, 1, 0] } }),
  );
  expect(built).toMatchObject({
    ok: true,
    profile: {
      rows: 50,
      features: [
        { name: 'language', kind: 'categorical' },
        { name: 'length', kind: 'numeric' },
      ],
    },
    performance: { by: { measure: 'accuracy' }, count: 3, sum: 2, sumOfSquares: 2 },
  });
  if (!built.ok) return;
  const { profile, performance } = built;
  expect(referenceOf(bodyOf({ profile, performance }))).toEqual(built);
});

it('scores are scaled from their range', () => {
  const by = { measure: 'score', low: 0, high: 10, higherIsBetter: false };
  expect(referenceOf(bodyOf({ rows, datasetDigest, performance: { by, scores: [5, 10] } }))).toMatchObject({
    performance: { count: 2, sum: 1.5, sumOfSquares: 1.25 },
  });
});

it.each([
  ['rows without a feature', { rows: [{ a: [] }], datasetDigest }, '/rows'],
  [
    'a range that is none',
    { rows, datasetDigest, performance: { by: { measure: 'score', low: 1, high: 1 }, scores: [1] } },
    '/performance/by/low',
  ],
  [
    'sums that no scores have',
    { rows, datasetDigest, performance: { by: { measure: 'accuracy' }, count: 1, sum: 2, sumOfSquares: 2 } },
    '/performance',
  ],
])('%s are refused by name', (_, body, pointer) => {
  expect(pointersOf(body)).toEqual([pointer]);
});

it('a profile that contradicts itself is refused at its feature', () => {
  const built = referenceOf(bodyOf({ rows, datasetDigest }));
  if (!built.ok) throw new Error('the rows are good');
  const [first, second] = built.profile.features;
  expect(pointersOf({ profile: { ...built.profile, features: [second, first] } })).toEqual(['/profile/features/1']);
});
