import { expect, test } from 'vitest';
import { mulberry32 } from '#lib/kernel/random.ts';
import { normal } from '../random.ts';
import { dequantiseNf4, NF4_BLOCK, NF4_LEVELS, NF4_WORST_ERROR, quantiseNf4 } from './nf4.ts';

test('no weight moves by more than half the widest gap times the scale of its block', () => {
  const random = mulberry32(1);
  // 3 blocks and a bit: the last one is padded.
  const data = Float32Array.from({ length: 200 }, () => normal(random));
  const matrix = quantiseNf4(data, [10, 20]);
  const back = dequantiseNf4(matrix);
  expect(matrix.codes.length).toBe(128);
  expect(back.length).toBe(200);
  let changed = 0;
  back.forEach((value, index) => {
    const scale = matrix.scales[Math.floor(index / NF4_BLOCK)] ?? 0;
    const error = Math.abs(value - (data[index] ?? Number.NaN));
    expect(error).toBeLessThanOrEqual(NF4_WORST_ERROR * scale + 1e-6);
    if (error > 0) changed += 1;
  });
  expect(changed).toBeGreaterThan(100);
});

test('the levels themselves, the largest of a block and zero survive exactly', () => {
  const data = Float32Array.from({ length: NF4_BLOCK }, (_, index) => (NF4_LEVELS[index % 16] ?? 0) * 3);
  const back = dequantiseNf4(quantiseNf4(data, [8, 8]));
  back.forEach((value, index) => expect(value).toBeCloseTo(data[index] ?? Number.NaN, 6));
  expect(dequantiseNf4(quantiseNf4(new Float32Array(64), [64, 1]))).toEqual(new Float32Array(64));
});

test('normally distributed weights lose less than a tenth of their energy', () => {
  const random = mulberry32(2);
  const data = Float32Array.from({ length: 64 * 64 }, () => 0.05 * normal(random));
  const back = dequantiseNf4(quantiseNf4(data, [64, 64]));
  const energy = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);
  expect(energy(data.map((value, index) => value - (back[index] ?? 0))) / energy(data)).toBeLessThan(0.1);
});
