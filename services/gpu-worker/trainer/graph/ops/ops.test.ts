import { describe, expect, test } from 'vitest';
import { checkGradients, type GradientCheck } from '../../test-support/gradient-check.ts';
import type { Value } from '../onnx-model.ts';
import type { Tape } from '../tape.ts';
import { add, addConstant, multiplyByData, quickGelu, relu, scale } from './elementwise.ts';
import { batchedMatMul, linear } from './linear.ts';
import { crossEntropy, embed } from './lookup.ts';
import { layerNorm, softmax } from './normalisation.ts';
import { reshape, transpose, unstack } from './shape.ts';

type Build = (tape: Tape, inputs: Readonly<Record<string, Value>>) => Value;

/** Every op, with the shapes of its differentiable inputs. */
const CASES: Record<string, { shapes: Record<string, number[]>; build: Build }> = {
  'linear with bias': {
    shapes: { x: [3, 4], w: [4, 5], b: [5] },
    build: (tape, v) => linear(tape, of(v, 'x'), of(v, 'w'), { bias: of(v, 'b') }),
  },
  'linear transposed': {
    shapes: { x: [3, 4], w: [5, 4] },
    build: (tape, v) => linear(tape, of(v, 'x'), of(v, 'w'), { transposed: true }),
  },
  'batched matrix product': {
    shapes: { a: [2, 2, 3, 4], b: [2, 2, 4, 3] },
    build: (tape, v) => batchedMatMul(tape, of(v, 'a'), of(v, 'b'), { transposed: false, alpha: 0.7 }),
  },
  'batched matrix product, transposed': {
    shapes: { a: [2, 2, 3, 4], b: [2, 2, 5, 4] },
    build: (tape, v) => batchedMatMul(tape, of(v, 'a'), of(v, 'b'), { transposed: true, alpha: 0.5 }),
  },
  add: { shapes: { a: [2, 3], b: [2, 3] }, build: (tape, v) => add(tape, of(v, 'a'), of(v, 'b')) },
  'add of one value to itself': { shapes: { a: [2, 3] }, build: (tape, v) => add(tape, of(v, 'a'), of(v, 'a')) },
  'add constant': {
    shapes: { x: [2, 3] },
    build: (tape, v) => addConstant(tape, of(v, 'x'), tape.graph.floats([1, 2, 3], [3])),
  },
  'multiply by data': {
    shapes: { x: [2, 3] },
    build: (tape, v) => multiplyByData(tape, of(v, 'x'), tape.graph.floats([2, 0, -1], [3])),
  },
  scale: { shapes: { x: [2, 3] }, build: (tape, v) => scale(tape, of(v, 'x'), -1.5) },
  // Shifted away from its kink, where finite differences have no meaning.
  'relu, positive side': {
    shapes: { x: [4, 4] },
    build: (tape, v) => relu(tape, addConstant(tape, of(v, 'x'), tape.graph.floats([3], [1]))),
  },
  'quick gelu': { shapes: { x: [4, 4] }, build: (tape, v) => quickGelu(tape, of(v, 'x')) },
  'layer norm': {
    shapes: { x: [3, 6], s: [6], b: [6] },
    build: (tape, v) => layerNorm(tape, of(v, 'x'), of(v, 's'), of(v, 'b'), 1e-5),
  },
  softmax: { shapes: { x: [2, 3, 5] }, build: (tape, v) => softmax(tape, of(v, 'x')) },
  reshape: { shapes: { x: [2, 6] }, build: (tape, v) => reshape(tape, of(v, 'x'), [3, 4]) },
  transpose: { shapes: { x: [2, 3, 4] }, build: (tape, v) => transpose(tape, of(v, 'x'), [2, 0, 1]) },
  unstack: {
    shapes: { x: [3, 2, 2] },
    build: (tape, v) => {
      const [first, , third] = unstack(tape, of(v, 'x'));
      return add(tape, scale(tape, present(first), 2), present(third));
    },
  },
  'embed with repeated indices': {
    shapes: { table: [5, 3] },
    build: (tape, v) => embed(tape, of(v, 'table'), tape.graph.indices([0, 4, 4, 2, 4])),
  },
  'cross entropy': {
    shapes: { logits: [3, 5] },
    build: (tape, v) => {
      const weights = tape.graph.floats([0.5, 0, 0.25], [3, 1]);
      return crossEntropy(tape, of(v, 'logits'), column(tape, [1, 0, 4]), weights).loss;
    },
  },
};

describe('the gradient of every op equals central differences', () => {
  test.each(Object.keys(CASES))('%s', async (name) => {
    const entry = present(CASES[name]);
    const check: GradientCheck = await checkGradients(entry.shapes, entry.build);
    expect(check.largestDerivative).toBeGreaterThan(0.01);
    expect(check.elements).toBeGreaterThan(0);
    expect(check.worstRelativeError).toBeLessThan(2e-3);
  });
});

test('a wrong gradient is noticed', async () => {
  const check = await checkGradients({ x: [2, 3] }, (tape, v) => {
    const x = of(v, 'x');
    const y = tape.graph.node('Mul', [x, x], x.shape);
    tape.record([y], [x], ([dy], give) => give(x, present(dy)));
    return y;
  });
  expect(check.worstRelativeError).toBeGreaterThan(0.1);
});

test('relu passes nothing below zero', async () => {
  await expect(
    checkGradients({ x: [4, 4] }, (tape, v) =>
      add(tape, relu(tape, addConstant(tape, of(v, 'x'), tape.graph.floats([-3], [1]))), of(v, 'x')),
    ),
  ).resolves.toMatchObject({ worstRelativeError: expect.closeTo(0, 2) });
});

function of(values: Readonly<Record<string, Value>>, name: string): Value {
  return present(values[name]);
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('missing');
  return value;
}

const column = (tape: Tape, values: number[]): Value =>
  tape.graph.node('Reshape', [tape.graph.indices(values), tape.graph.integers([values.length, 1])], [values.length, 1]);
