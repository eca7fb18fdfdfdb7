import { expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { generalisedAdvantages, whiten } from './advantages.ts';

test('advantages are the discounted sum of surprises of their definition', () => {
  const random = mulberry32(3);
  const draw = (): number[] => Array.from({ length: 6 }, () => random.next() * 2 - 1);
  const [rewards, values] = [draw(), draw()];
  const [gamma, lam] = [0.9, 0.7];
  const { advantages, returns } = generalisedAdvantages(rewards, values, { gamma, lam });
  const surprise = (t: number): number => (rewards[t] ?? 0) + gamma * (values[t + 1] ?? 0) - (values[t] ?? 0);
  for (let t = 0; t < 6; t += 1) {
    let sum = 0;
    for (let later = t; later < 6; later += 1) sum += (gamma * lam) ** (later - t) * surprise(later);
    expect(advantages[t]).toBeCloseTo(sum, 12);
    expect(returns[t]).toBeCloseTo(sum + (values[t] ?? 0), 12);
  }
});

test('with lambda 1 and no discount the return is what is still to come, with lambda 0 only the next step counts', () => {
  const [rewards, values] = [
    [1, 2, 3],
    [0.5, 0.25, 0],
  ];
  expect([...generalisedAdvantages(rewards, values, { gamma: 1, lam: 1 }).returns]).toEqual([6, 5, 3]);
  expect([...generalisedAdvantages(rewards, values, { gamma: 1, lam: 0 }).advantages]).toEqual([0.75, 1.75, 3]);
});

test('whitening gives the counted entries mean 0 and variance 1 and leaves the others alone', () => {
  const values = Float32Array.from([5, 1, 7, 3, 100]);
  const mask = Float32Array.from([1, 1, 1, 1, 0]);
  whiten(values, mask);
  const counted = [...values].slice(0, 4);
  expect(counted.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 5);
  expect(counted.reduce((sum, value) => sum + value * value, 0) / 3).toBeCloseTo(1, 5);
  expect(values[4]).toBe(100);
});

test('a single token, or tokens that are all alike, do not explode', () => {
  const one = Float32Array.of(3, 9);
  whiten(one, Float32Array.of(1, 0));
  expect([...one]).toEqual([3, 9]);
  const alike = Float32Array.of(2, 2, 2);
  whiten(alike, Float32Array.of(1, 1, 1));
  expect([...alike]).toEqual([0, 0, 0]);
});
