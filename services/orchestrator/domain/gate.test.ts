import { describe, expect, it } from 'vitest';
import type { Threshold } from '#lib/contracts/jobs.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { decideGate } from './gate.ts';

const metric = (change: Partial<EvaluationMetric> = {}): EvaluationMetric => ({
  name: 'held_out.bits_per_byte',
  value: 2.5,
  standardError: null,
  higherIsBetter: false,
  count: 10,
  ...change,
});
const line = (operator: Threshold['operator'], threshold: number, relativeTo?: 'base'): Threshold => ({
  metric: 'held_out.bits_per_byte',
  operator,
  threshold,
  ...(relativeTo === undefined ? {} : { relativeTo }),
});

describe('the evaluation gate', () => {
  it.each([
    ['<', false],
    ['<=', true],
    ['>', false],
    ['>=', true],
  ] as const)('at equality %s passes: %s', (operator, passes) => {
    expect(decideGate([line(operator, 2.5)], [metric()]).passed).toBe(passes);
  });

  it.each([
    ['<', 2.6, true],
    ['<', 2.4, false],
    ['<=', 2.4, false],
    ['>', 2.4, true],
    ['>', 2.6, false],
    ['>=', 2.6, false],
  ] as const)('2.5 %s %d passes: %s', (operator, threshold, passes) => {
    expect(decideGate([line(operator, threshold)], [metric()]).passed).toBe(passes);
  });

  it('compares the paired difference where the policy asks for the base', () => {
    const metrics = [metric({ value: 9, baselineValue: 9.25, delta: -0.25 })];
    expect(decideGate([line('<=', 0, 'base')], metrics).passed).toBe(true);
    expect(decideGate([line('<=', -0.3, 'base')], metrics)).toMatchObject({
      passed: false,
      results: [{ actual: -0.25, reason: expect.stringContaining('minus base') }],
    });
  });

  it.each([
    ['a metric that is missing', []],
    ['a metric that is not a number', [metric({ value: Number.NaN })]],
  ])('fails closed for %s, whatever the operator', (_, metrics) => {
    for (const operator of ['<', '<=', '>', '>='] as const)
      expect(decideGate([line(operator, 0)], metrics)).toMatchObject({
        passed: false,
        results: [{ actual: null, reason: 'held_out.bits_per_byte was not measured' }],
      });
  });

  it('fails closed when there was no base to compare with', () => {
    expect(decideGate([line('<=', 100, 'base')], [metric()]).passed).toBe(false);
  });

  it('every line must pass, and every line is answered', () => {
    const decision = decideGate([line('<', 3), line('<', 2), line('>', 1)], [metric()]);
    expect(decision.passed).toBe(false);
    expect(decision.results.map((r) => r.passed)).toEqual([true, false, true]);
    expect(decision.results[1]?.reason).toBe('held_out.bits_per_byte = 2.50000, required < 2');
  });

  it('passes without a policy', () => {
    expect(decideGate([], [])).toEqual({ passed: true, results: [] });
  });
});
