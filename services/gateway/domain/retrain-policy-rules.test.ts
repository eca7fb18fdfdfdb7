import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { RetrainPolicy } from '#lib/contracts/retrain-policy.ts';
import { checkRetrainPolicy } from './retrain-policy-rules.ts';

const NOW = Date.parse('2026-11-26T10:00:00Z');
const [example] = (RetrainPolicy as unknown as { examples: object[] }).examples;

function check(change: Record<string, unknown> = {}) {
  const policy = Value.Default(RetrainPolicy, { ...example, ...change }) as RetrainPolicy;
  expect([...Value.Errors(RetrainPolicy, policy)]).toEqual([]);
  return checkRetrainPolicy('speeches', policy, NOW);
}
const pointers = (change: Record<string, unknown>): string[] => {
  const verdict = check(change);
  return verdict.ok ? [] : verdict.fields.map(({ pointer }) => pointer);
};

describe('a retrain policy', () => {
  it('is accepted with the first run of its schedule', () => {
    expect(check()).toEqual({ ok: true, nextFireAtMs: Date.parse('2026-11-30T02:00:00Z') });
    expect(check({ schedule: undefined })).toEqual({ ok: true, nextFireAtMs: null });
  });

  it.each([
    ['a cron expression that never fires', { schedule: { cron: '0 0 30 2 *' } }, '/schedule/cron'],
    ['a cron expression that is none', { schedule: { cron: 'soon' } }, '/schedule/cron'],
    ['an unknown time zone', { schedule: { cron: '@daily', timeZone: 'Mars/Olympus' } }, '/schedule/timeZone'],
    ['a job that would be refused', { spec: {} }, '/spec/training'],
    ['a job that is no object', { spec: 7 }, '/spec'],
    ['windows that would all stay open', { drift: { windowMs: 1_000, latenessMs: 60_000 } }, '/drift/latenessMs'],
  ])('is refused for %s, by name', (_, change, pointer) => {
    expect(pointers(change)).toContain(pointer);
  });
});
