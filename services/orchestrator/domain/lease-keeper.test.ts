import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { confirmed, granted, heartbeat, judge, type LeasePolicy, stallTimeoutMs } from './lease-keeper.ts';

const policy: LeasePolicy = {
  heartbeatTimeoutMs: 300_000,
  acceptTimeoutMs: 60_000,
  stallFactor: 20,
  stallFloorMs: 900_000,
};
const attempt = { workflowId: 'wf', activityId: 'a', epoch: 1, workerId: 'w', startToCloseMs: 86_400_000 };
const start = { workerId: 'w', incarnation: 'i', startedAtMs: 1_000 };
const running = confirmed(granted(attempt, 0), start, 1_000);

describe('a lease', () => {
  it('that nobody reports ends as not started after the accept timeout', () => {
    const lease = granted(attempt, 0);
    expect(judge(lease, policy, 59_999)).toBeNull();
    expect(judge(lease, policy, 60_000)).toBe('not_started');
  });

  it('whose worker is silent is lost after the heartbeat timeout, counted from the last heartbeat', () => {
    expect(judge(running, policy, 300_999)).toBeNull();
    expect(judge(running, policy, 301_000)).toBe('lost');
    const later = heartbeat(running, 0, 200_000);
    expect(judge(later, policy, 499_999)).toBeNull();
    expect(judge(later, policy, 500_000)).toBe('lost');
  });

  it('whose heartbeats show no progress is stalled after the floor', () => {
    let lease = running;
    for (let atMs = 60_000; atMs <= 900_000; atMs += 60_000) {
      lease = heartbeat(lease, 0, atMs);
      expect(judge(lease, policy, atMs)).toBeNull();
    }
    expect(judge(heartbeat(lease, 0, 901_000), policy, 901_000)).toBe('stalled');
  });

  it('may take as long for a step as it took before, many times over', () => {
    let lease = running;
    // A step takes 5 minutes: 20 times that is more than the floor.
    for (let step = 1; step <= 3; step++) lease = heartbeat(lease, step, 1_000 + step * 300_000);
    expect(stallTimeoutMs(lease, policy)).toBe(6_000_000);
    let atMs = lease.lastProgressMs;
    while (atMs - lease.lastProgressMs < 6_000_000 - 60_000) lease = heartbeat(lease, 3, (atMs += 60_000));
    expect(judge(lease, policy, atMs)).toBeNull();
    lease = heartbeat(lease, 3, (atMs += 60_000));
    expect(judge(lease, policy, atMs)).toBe('stalled');
  });

  it('learns from the slowest step, not from the last', () => {
    const slow = heartbeat(running, 1, 101_000);
    expect(heartbeat(slow, 2, 101_500).progressIntervalMs).toBe(100_000);
  });

  it('is not kept by a step that goes back', () => {
    const lease = heartbeat(heartbeat(running, 10, 2_000), 9, 3_000);
    expect(lease).toMatchObject({ lastStep: 10, lastProgressMs: 2_000, lastHeartbeatMs: 3_000 });
  });

  it('ends by start-to-close however lively its attempt is', () => {
    const short = confirmed(granted({ ...attempt, startToCloseMs: 10_000 }, 0), start, 1_000);
    const lively = heartbeat(short, 5, 10_999);
    expect(judge(lively, policy, 10_999)).toBeNull();
    expect(judge(lively, policy, 11_000)).toBe('timed_out');
  });

  it('that is adopted after a restart starts its clocks again', () => {
    const adopted = confirmed(granted(attempt, 5_000_000), start, 5_000_000);
    expect(judge(adopted, policy, 5_299_999)).toBeNull();
    expect(judge(adopted, policy, 5_300_000)).toBe('lost');
  });

  it('holds as long as progress is reported within the heartbeat timeout', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 299_999 }), { maxLength: 50 }), (pauses) => {
        let lease = running;
        let atMs = 1_000;
        for (const [i, pause] of pauses.entries()) {
          atMs += pause;
          expect(judge(lease, policy, atMs)).toBeNull();
          lease = heartbeat(lease, i + 1, atMs);
        }
      }),
    );
  });
});
