import { describe, expect, it } from 'vitest';
import { dueRun, SCHEDULE_GRACE_MS, type StandingSchedule } from './due-run.ts';

const at = (text: string): number => Date.parse(`2026-11-${text}:00Z`);
const nightly: StandingSchedule = { cron: '0 3 * * *', timeZone: 'UTC', missedRuns: 'skip', fireAtMs: at('26T03:00') };

describe('a scheduled run', () => {
  it('fires in its time, and the next one follows', () => {
    const due = { kind: 'fire', runs: 1, nextFireAtMs: at('27T03:00') };
    expect(dueRun(nightly, at('26T03:00'))).toEqual(due);
    expect(dueRun(nightly, at('26T03:00') + SCHEDULE_GRACE_MS)).toEqual(due);
  });

  it('that fell into an outage is skipped or run once, as the schedule says, however many there were', () => {
    const missed = { runs: 3, nextFireAtMs: at('29T03:00') };
    expect(dueRun(nightly, at('28T09:00'))).toEqual({ kind: 'missed', ...missed });
    expect(dueRun({ ...nightly, missedRuns: 'runOnce' }, at('28T09:00'))).toEqual({ kind: 'fire', ...missed });
  });

  it('whose turn it is when the outage ends fires, whatever was missed before', () => {
    expect(dueRun(nightly, at('28T03:00'))).toEqual({ kind: 'fire', runs: 3, nextFireAtMs: at('29T03:00') });
  });

  it('of every minute after a year of outage is counted up to a limit', () => {
    const minutely = { ...nightly, cron: '* * * * *', fireAtMs: at('26T03:00') - 366 * 86_400_000 };
    expect(dueRun(minutely, at('26T03:00'))).toMatchObject({
      kind: 'missed',
      runs: 1_000,
      nextFireAtMs: at('26T03:01'),
    });
  });

  it('that cannot be read any more never comes again', () => {
    expect(dueRun({ ...nightly, cron: 'soon' }, at('26T03:00'))).toEqual({
      kind: 'missed',
      runs: 1,
      nextFireAtMs: null,
    });
  });
});
