import { describe, expect, it } from 'vitest';
import { JOB_TYPES } from '#lib/contracts/jobs.ts';
import { duration } from '#lib/kernel/duration.ts';
import { backoffMs } from '../activity-ledger.ts';
import { PROFILES, workflowRegistry } from './registry.ts';

const registry = workflowRegistry();

describe('the factory', () => {
  it('knows all five job types with the attempts and times of the seed', () => {
    expect(Object.keys(PROFILES).sort()).toEqual([...JOB_TYPES].sort());
    expect(PROFILES.fine_tune).toMatchObject({
      retry: { maxAttempts: 3, backoff: 2 },
      executionTimeoutMs: duration('48h'),
    });
    expect(PROFILES.hpo).toMatchObject({ retry: { maxAttempts: 2, backoff: 2 }, executionTimeoutMs: duration('72h') });
    expect(PROFILES.rlhf).toMatchObject({ retry: { maxAttempts: 2, backoff: 2 }, executionTimeoutMs: duration('96h') });
    expect(PROFILES.retrain).toMatchObject({
      retry: { maxAttempts: 3, backoff: 2 },
      executionTimeoutMs: duration('72h'),
    });
    expect(PROFILES.eval_only).toMatchObject({
      retry: { maxAttempts: 3, backoff: 1.5 },
      executionTimeoutMs: duration('4h'),
    });
  });

  it('has a machine for every current version', () => {
    const current = Object.values(PROFILES).flatMap((profile) => profile.current ?? []);
    expect(current.map((definition) => registry.machine(definition)?.definition)).toEqual(current);
    expect(current).toContain('fine_tune@1');
  });

  it('does not take members of every object for job types', () => {
    for (const name of ['constructor', 'toString', '__proto__', '']) {
      expect(registry.profile(name)).toBeNull();
      expect(registry.machine(name)).toBeNull();
    }
  });

  it('waits a second before the second attempt, twice as long before the third', () => {
    expect([1, 2].map((failures) => backoffMs(PROFILES.fine_tune.retry, failures))).toEqual([1_000, 2_000]);
  });
});
