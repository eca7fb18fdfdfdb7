import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cron, nextFire, parseCron } from './cron.ts';
import { isTimeZone, LocalClock } from './local-clock.ts';

function cronOf(text: string): Cron {
  const verdict = parseCron(text);
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.cron;
}

/** The next fire times, as ISO text without seconds. */
function fires(text: string, zone: string, after: string, count = 1): (string | null)[] {
  const found: (string | null)[] = [];
  let afterMs = Date.parse(after);
  for (let i = 0; i < count; i++) {
    const next = nextFire(cronOf(text), zone, afterMs);
    found.push(next === null ? null : new Date(next).toISOString().slice(0, 16));
    if (next === null) break;
    afterMs = next;
  }
  return found;
}

describe('a cron expression', () => {
  it.each([
    ['*/15 * * * *', 'UTC', '2026-11-26T10:07:30Z', '2026-11-26T10:15'],
    ['0 3 * * *', 'UTC', '2026-11-26T03:00:00Z', '2026-11-27T03:00'],
    ['0 3 * * *', 'Europe/Berlin', '2026-11-26T03:00:00Z', '2026-11-27T02:00'],
    ['30 4 1,15 * *', 'UTC', '2026-11-16T00:00:00Z', '2026-12-01T04:30'],
    ['0 12 * * MON-FRI', 'UTC', '2026-11-27T12:00:00Z', '2026-11-30T12:00'],
    ['0 12 * * 7', 'UTC', '2026-11-26T12:00:00Z', '2026-11-29T12:00'],
    ['0 0 29 2 *', 'UTC', '2096-03-01T00:00:00Z', '2104-02-29T00:00'],
    ['0 0 31 dec *', 'Pacific/Kiritimati', '2026-11-26T00:00:00Z', '2026-12-30T10:00'],
    ['5/20 9-17/4 * * *', 'UTC', '2026-11-26T09:45:00Z', '2026-11-26T13:05'],
    ['@weekly', 'UTC', '2026-11-26T00:00:00Z', '2026-11-29T00:00'],
    ['15 10 * * *', 'Asia/Kathmandu', '2026-11-26T00:00:00Z', '2026-11-26T04:30'],
  ])('%s in %s after %s fires at %s', (text, zone, after, expected) => {
    expect(fires(text, zone, after)).toEqual([expected]);
  });

  it('with day and weekday restricted fires on either', () => {
    expect(fires('0 0 13 * 5', 'UTC', '2026-11-10T00:00:00Z', 3)).toEqual([
      '2026-11-13T00:00',
      '2026-11-20T00:00',
      '2026-11-27T00:00',
    ]);
    expect(fires('0 0 15 * 5', 'UTC', '2026-11-14T00:00:00Z', 2)).toEqual(['2026-11-15T00:00', '2026-11-20T00:00']);
  });

  it.each(['0 0 30 2 *', '0 0 31 4,6,9,11 *', '59 23 31 feb *'])('%s never fires, and that is said', (text) => {
    expect(fires(text, 'Europe/Berlin', '2026-11-26T00:00:00Z')).toEqual([null]);
  });

  it.each([
    ['0 0 * *', 'five fields'],
    ['60 * * * *', 'minute'],
    ['* 24 * * *', 'hour'],
    ['* * 0 * *', 'day of month'],
    ['* * * 13 *', 'month'],
    ['* * * * 8', 'day of week'],
    ['*/0 * * * *', 'step of 0'],
    ['9-5 * * * *', 'ends before it begins'],
    ['a * * * *', 'minute'],
    ['*-5 * * * *', 'minute'],
    ['1,,2 * * * *', 'minute'],
    ['@reboot', 'five fields'],
    [`${'1,'.repeat(120)}1 * * * *`, 'longer'],
  ])('%s is refused, naming the field: %s', (text, reason) => {
    expect(parseCron(text)).toEqual({ ok: false, reason: expect.stringContaining(reason) });
  });
});

describe('when clocks change', () => {
  it('a time that is left out fires at the moment of the change, once for all of its minutes', () => {
    // Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00Z.
    expect(fires('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ]);
    expect(fires('0,15,30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-29T01:00',
      '2026-03-30T00:00',
    ]);
  });

  it('a time that comes twice fires the first time only', () => {
    // Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00Z.
    expect(fires('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-26T01:30',
    ]);
  });

  it('an expression of every hour follows the time that passes', () => {
    expect(fires('30 * * * *', 'Europe/Berlin', '2026-10-25T00:00:00Z', 3)).toEqual([
      '2026-10-25T00:30',
      '2026-10-25T01:30',
      '2026-10-25T02:30',
    ]);
    expect(fires('30 * * * *', 'Europe/Berlin', '2026-03-29T00:00:00Z', 2)).toEqual([
      '2026-03-29T00:30',
      '2026-03-29T01:30',
    ]);
  });

  it('half an hour and midnight are changes like others', () => {
    // Lord Howe moves by 30 minutes: 4 October 2026, 02:00 becomes 02:30 at 15:30Z.
    expect(fires('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03T12:00:00Z')).toEqual(['2026-10-03T15:30']);
    // Beirut leaves out midnight: 29 March 2026, 00:00 becomes 01:00 at 22:00Z of the day before.
    expect(fires('0 0 * * *', 'Asia/Beirut', '2026-03-28T12:00:00Z', 2)).toEqual([
      '2026-03-28T22:00',
      '2026-03-29T21:00',
    ]);
  });

  it('whatever zone and moment, the next fire lies ahead, shows the wanted minute unless clocks just changed, and none is skipped', () => {
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu');
    fc.assert(
      fc.property(
        zones,
        fc.integer({ min: 1_577_836_800, max: 1_900_000_000 }),
        fc.nat(23),
        fc.nat(59),
        (zone, at, hour, minute) => {
          const cron = cronOf(`${minute} ${hour} * * *`);
          const next = nextFire(cron, zone, at * 1_000);
          if (next === null) throw new Error('a daily expression fires');
          expect(next).toBeGreaterThan(at * 1_000);
          // A day has 25 hours at most.
          expect(next - at * 1_000).toBeLessThanOrEqual(25 * 3_600_000 + 60_000);
          const clock = new LocalClock(zone);
          const shown = clock.at(next);
          const before = clock.at(next - 60_000);
          const jumped = (shown.hour * 60 + shown.minute - before.hour * 60 - before.minute + 1_440) % 1_440 !== 1;
          expect(jumped || (shown.hour === hour && shown.minute === minute)).toBe(true);
          expect(nextFire(cron, zone, next - 1)).toBe(next);
        },
      ),
      { numRuns: 200 },
    );
  });
});

it('a time zone is known by its IANA name', () => {
  expect(['UTC', 'Europe/Berlin', 'Mars/Olympus', '', '+02:00'].map(isTimeZone)).toEqual([
    true,
    true,
    false,
    false,
    false,
  ]);
});
