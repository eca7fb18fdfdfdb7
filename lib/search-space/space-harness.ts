import fc from 'fast-check';
import type { Parameter, SearchSpace } from './search-space.ts';

const NAMES = ['a', 'b', 'c.d', 'constructor', 'e'];

/** Random small spaces with conditions and constraints. Not wild: each passes `checkSearchSpace`, but for what only a grid needs. */
export function searchSpaces({ wild, finite = false }: { wild: boolean; finite?: boolean }): fc.Arbitrary<SearchSpace> {
  return fc
    .record({
      bodies: fc.array(wild ? wildBody : finite ? fc.oneof(intBody, steppedBody, choicesBody) : tameBody, {
        minLength: 1,
        maxLength: NAMES.length,
      }),
      conditioned: fc.array(fc.boolean(), { minLength: NAMES.length, maxLength: NAMES.length }),
      picks: fc.array(fc.nat(20), { minLength: NAMES.length, maxLength: NAMES.length }),
      bounded: fc.boolean(),
    })
    .map(({ bodies, conditioned, picks, bounded }) => {
      const parameters: Parameter[] = [];
      for (const [i, body] of bodies.entries()) {
        // Wild: also on itself and on later ones.
        const parent = wild
          ? bodies[(picks[i] as number) % bodies.length]
          : parameters[(picks[i] as number) % Math.max(1, i)];
        const parentName = NAMES[(picks[i] as number) % (wild ? bodies.length : Math.max(1, i))] as string;
        const value = parent === undefined ? null : someValue(parent, picks[i] as number);
        const when = conditioned[i] === true && value !== null && (wild || i > 0);
        parameters.push({
          ...body,
          name: NAMES[i] as string,
          ...(when ? { when: { parameter: parentName, equals: value } } : {}),
        });
      }
      // Holds for half of the values of the first numeric parameter, whatever the others are.
      const numeric = parameters.find((each) => each.type !== 'categorical');
      return numeric !== undefined && bounded
        ? {
            parameters,
            constraints: [
              {
                left: { terms: [{ factor: 2, parameters: [numeric.name] }] },
                operator: '<=' as const,
                right: finiteSum(numeric.min, numeric.max),
              },
            ],
          }
        : { parameters };
    });
}

type Body =
  | Omit<Extract<Parameter, { type: 'int' }>, 'name'>
  | Omit<Extract<Parameter, { type: 'float' }>, 'name'>
  | Omit<Extract<Parameter, { type: 'categorical' }>, 'name'>;

/** JSON has no infinity: what is too large for a double becomes the largest one. */
function finiteSum(a: number, b: number): number {
  return Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, a + b));
}

function someValue(body: Body, pick: number): string | number | boolean | null {
  if (body.type === 'categorical') return body.choices[pick % body.choices.length] ?? null;
  if (body.type === 'float' && body.step === undefined) return null;
  const count = Math.round((body.max - body.min) / (body.step ?? 1)) + 1;
  return pick % 2 === 0 || count < 1 ? body.min : body.max;
}

const intBody: fc.Arbitrary<Body> = fc
  .record({ min: fc.integer({ min: 1, max: 5 }), steps: fc.nat(4), step: fc.integer({ min: 1, max: 3 }) })
  .map(({ min, steps, step }) => ({ type: 'int' as const, min, max: min + steps * step, step }));
const steppedBody: fc.Arbitrary<Body> = fc
  .record({ steps: fc.nat(4), step: fc.constantFrom(0.1, 0.25, 3) })
  .map(({ steps, step }) => ({ type: 'float' as const, min: 0.1, max: 0.1 + steps * step, step }));
const continuousBody: fc.Arbitrary<Body> = fc
  .record({
    min: fc.double({ min: 1e-6, max: 1, noNaN: true }),
    // Also ranges of the last digits: the logarithms of their ends are one number.
    range: fc.oneof(fc.double({ min: 0, max: 10, noNaN: true }), fc.double({ min: 0, max: 1e-16, noNaN: true })),
    log: fc.boolean(),
  })
  .map(({ min, range, log }) => ({ type: 'float' as const, min, max: min + range, log }));
const logIntBody: fc.Arbitrary<Body> = fc
  .record({ min: fc.integer({ min: 1, max: 5 }), range: fc.nat(100) })
  .map(({ min, range }) => ({ type: 'int' as const, min, max: min + range, log: true }));
const choicesBody: fc.Arbitrary<Body> = fc
  .uniqueArray(fc.constantFrom('x', 'y', 1, 2.5, true, false), { minLength: 1, maxLength: 4 })
  .map((choices) => ({ type: 'categorical' as const, choices }));
const tameBody = fc.oneof(intBody, steppedBody, continuousBody, logIntBody, choicesBody);

const wildBody: fc.Arbitrary<Body> = fc.oneof(
  tameBody,
  fc
    .record({
      min: fc.double({ noNaN: true, noDefaultInfinity: true }),
      max: fc.double({ noNaN: true, noDefaultInfinity: true }),
      log: fc.boolean(),
      step: fc.double({ min: 1e-300, max: 1e300, noNaN: true }),
    })
    .map((members) => ({ type: 'float' as const, ...members })),
  fc
    .record({
      min: fc.maxSafeInteger(),
      max: fc.maxSafeInteger(),
      log: fc.boolean(),
      step: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    })
    .map((members) => ({ type: 'int' as const, ...members })),
  fc
    .array(fc.constantFrom('x', 1, true), { minLength: 1, maxLength: 3 })
    .map((choices) => ({ type: 'categorical' as const, choices })),
);
