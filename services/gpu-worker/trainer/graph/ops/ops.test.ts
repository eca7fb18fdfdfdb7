import { describe, expect, test } from 'vitest';
import { checkGradients, type GradientCheck } from '../../test-support/gradient-check.ts';
import { compile } from '../../engine.ts';
import { GraphBuilder, type Value } from '../onnx-model.ts';
import { Tape } from '../tape.ts';
import { add, addConstant, multiplyByData, quickGelu, relu, scale } from './elementwise.ts';
import { batchedMatMul, linear } from './linear.ts';
import { crossEntropy, embed } from './lookup.ts';
import { layerNorm, softmax } from './normalisation.ts';
import { clippedPolicyLoss, clippedValueLoss } from './policy.ts';
import { halvesDifference, logProbabilities, logSigmoid, minusData, sequenceSums, weightedSum } from './sequence.ts';
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
  'log-probabilities': {
    shapes: { logits: [3, 5] },
    build: (tape, v) => logProbabilities(tape, of(v, 'logits'), column(tape, [1, 0, 4])),
  },
  'sums of sequences': {
    shapes: { x: [6, 1] },
    build: (tape, v) => sequenceSums(tape, of(v, 'x'), tape.graph.floats([0, 1, 1, 0.5, 0, 2], [2, 3])),
  },
  'difference of halves': { shapes: { x: [6, 1] }, build: (tape, v) => halvesDifference(tape, of(v, 'x')) },
  'minus data': {
    shapes: { x: [2, 1] },
    build: (tape, v) => minusData(tape, of(v, 'x'), tape.graph.floats([3, -2], [2, 1])),
  },
  'log of sigmoid': { shapes: { x: [4, 4] }, build: (tape, v) => logSigmoid(tape, of(v, 'x')) },
  'weighted sum': {
    shapes: { x: [3, 1] },
    build: (tape, v) => weightedSum(tape, of(v, 'x'), tape.graph.floats([0.5, 0, -2], [3, 1])),
  },
  // Ratios exp(x - old) around 1, and far above and below it, for advantages of both signs.
  'clipped policy loss': {
    shapes: { x: [6, 1] },
    build: (tape, v) => {
      const data = {
        oldLogp: tape.graph.floats([0, 0, -3, -3, 3, 3], [6, 1]),
        advantages: tape.graph.floats([1, -1, 2, -2, 2, -2], [6, 1]),
      };
      return clippedPolicyLoss(tape, scale(tape, of(v, 'x'), 0.05), data, 0.2);
    },
  },
  'clipped value loss': {
    shapes: { x: [6, 1] },
    build: (tape, v) => {
      const data = {
        oldValues: tape.graph.floats([0, 0, -3, -3, 3, 3], [6, 1]),
        returns: tape.graph.floats([1, -1, 5, -5, 5, -5], [6, 1]),
      };
      return clippedValueLoss(tape, scale(tape, of(v, 'x'), 0.05), data, 0.2);
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

test('the clipped losses are those of their formulas, and tokens at the edge of the range keep their gradient', async () => {
  const cliprange = 0.2;
  const [logp, old, advantages] = [
    [0.5, -0.5, 0.5, -0.5, 0.1],
    [0, 0, 0, 0, 0],
    [1, 1, -1, -1, 3],
  ];
  const [values, oldValues, returns] = [
    [0.5, -0.5, 0.1, 0.5, 0.5],
    [0, 0, 0.05, 0, 0.7],
    [1, 1, 1, -1, 0],
  ];
  const tape = new Tape(new GraphBuilder());
  const data = (items: number[]): Value => tape.graph.floats(items, [5, 1]);
  const [x, v] = [
    tape.track(tape.graph.input('x', 'float32', [5, 1])),
    tape.track(tape.graph.input('v', 'float32', [5, 1])),
  ];
  const policy = clippedPolicyLoss(tape, x, { oldLogp: data(old), advantages: data(advantages) }, cliprange);
  const value = clippedValueLoss(tape, v, { oldValues: data(oldValues), returns: data(returns) }, cliprange);
  const ones = data([1, 1, 1, 1, 1]);
  const loss = add(tape, weightedSum(tape, policy, ones), weightedSum(tape, value, ones));
  const gradients = tape.gradients(loss, [x, v]);
  tape.graph.output('policy', policy);
  tape.graph.output('value', value);
  tape.graph.output('dx', present(gradients[0]));
  tape.graph.output('dv', present(gradients[1]));
  const inputs = { x: Float32Array.from(logp), v: Float32Array.from(values) };
  const program = await compile(tape.graph, { inputs }, { threads: 1 });
  await program.run();
  const clip = (item: number, low: number, high: number): number => Math.min(high, Math.max(low, item));
  for (let i = 0; i < 5; i += 1) {
    const ratio = Math.exp(present(logp[i]) - present(old[i]));
    const a = present(advantages[i]);
    const [free, clipped] = [ratio * a, clip(ratio, 1 - cliprange, 1 + cliprange) * a];
    expect(program.output('policy')[i]).toBeCloseTo(-Math.min(free, clipped), 5);
    expect(program.output('dx')[i]).toBeCloseTo(free <= clipped ? -free : 0, 5);
    const [now, before, target] = [present(values[i]), present(oldValues[i]), present(returns[i])];
    const held = clip(now, before - cliprange, before + cliprange);
    expect(program.output('value')[i]).toBeCloseTo(Math.max((now - target) ** 2, (held - target) ** 2) / 2, 5);
    const follows = (now - target) ** 2 >= (held - target) ** 2;
    expect(program.output('dv')[i]).toBeCloseTo(follows ? now - target : 0, 5);
  }
  await program.release();
});

test('log of sigmoid stays finite where sigmoid is 0', async () => {
  const tape = new Tape(new GraphBuilder());
  tape.graph.output('y', logSigmoid(tape, tape.graph.input('x', 'float32', [4])));
  const inputs = { x: Float32Array.of(-1e4, -100, 100, 1e4) };
  const program = await compile(tape.graph, { inputs }, { threads: 1 });
  await program.run();
  const [least, low, high, most] = program.output('y');
  expect(least).toBeCloseTo(-1e4, 1);
  expect(low).toBeCloseTo(-100, 3);
  expect(high).toBeCloseTo(0, 6);
  expect(most).toBeCloseTo(0, 6);
  await program.release();
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
