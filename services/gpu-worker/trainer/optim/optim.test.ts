import { expect, test } from 'vitest';
import { TensorSet } from '../model/tensor-set.ts';
import { AdamW, clipScale, norm } from './adamw.ts';
import { learningRateAt } from './schedule.ts';

test('AdamW makes the steps of its paper, with decay on matrices only', () => {
  const tensors = new TensorSet([
    { name: 'matrix', shape: [1, 2] },
    { name: 'bias', shape: [1] },
  ]);
  tensors.data.set([1, -2, 3]);
  const options = { beta1: 0.9, beta2: 0.99, weightDecay: 0.1 };
  const optimiser = new AdamW(tensors, options);
  const gradients = [Float32Array.from([0.5, -1, 0.25]), Float32Array.from([-0.25, 0.5, 2])];
  const expected = [1, -2, 3];
  const m = [0, 0, 0];
  const v = [0, 0, 0];
  gradients.forEach((gradient, index) => {
    const step = index + 1;
    optimiser.update(gradient, 0.5, 0.01, step);
    for (let i = 0; i < 3; i += 1) {
      const g = (gradient[i] ?? 0) * 0.5;
      m[i] = 0.9 * (m[i] ?? 0) + 0.1 * g;
      v[i] = 0.99 * (v[i] ?? 0) + 0.01 * g * g;
      const decayed = (expected[i] ?? 0) * (i < 2 ? 1 - 0.01 * 0.1 : 1);
      const direction = (m[i] ?? 0) / (1 - 0.9 ** step) / (Math.sqrt((v[i] ?? 0) / (1 - 0.99 ** step)) + 1e-8);
      expected[i] = decayed - 0.01 * direction;
    }
  });
  tensors.data.forEach((value, index) => expect(value).toBeCloseTo(expected[index] ?? Number.NaN, 6));
  expect(tensors.data[0]).not.toBe(1);
});

test('gradients above the limit are scaled to it, others and a limit of zero change nothing', () => {
  expect(norm(Float32Array.from([3, 4]))).toBe(5);
  expect(5 * clipScale(5, 1)).toBe(1);
  expect(clipScale(0.5, 1)).toBe(1);
  expect(clipScale(5, 0)).toBe(1);
});

test('the learning rate rises over the warm-up and falls along a cosine to its floor', () => {
  const schedule = { learningRate: 1, warmupSteps: 10, minLearningRateRatio: 0.1, maxSteps: 110 };
  expect(learningRateAt(1, schedule)).toBeCloseTo(0.1);
  expect(learningRateAt(10, schedule)).toBe(1);
  expect(learningRateAt(60, schedule)).toBeCloseTo(0.55);
  expect(learningRateAt(110, schedule)).toBeCloseTo(0.1);
  expect(learningRateAt(1, { ...schedule, warmupSteps: 0, maxSteps: 1 })).toBeGreaterThan(0);
  expect(learningRateAt(5, { ...schedule, warmupSteps: 20, maxSteps: 5 })).toBe(0.25);
});
