/* oxlint-disable no-restricted-globals -- Date is used for the arithmetic of the calendar only; no clock is read. */
import { asUtc, LocalClock, type LocalTime } from './local-clock.ts';

/** A parsed cron expression. Sets hold the values that match. */
export interface Cron {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  /** 0 = Sunday. */
  readonly weekdays: ReadonlySet<number>;
  /** POSIX: when day and weekday are both restricted, either of them is enough. */
  readonly eitherDay: boolean;
}

export type CronVerdict = { readonly ok: true; readonly cron: Cron } | { readonly ok: false; readonly reason: string };

interface Field {
  readonly name: string;
  readonly low: number;
  readonly high: number;
  readonly names: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const FIELDS = {
  minutes: { name: 'minute', low: 0, high: 59, names: [] },
  hours: { name: 'hour', low: 0, high: 23, names: [] },
  days: { name: 'day of month', low: 1, high: 31, names: [] },
  months: { name: 'month', low: 1, high: 12, names: MONTHS },
  // 7 is Sunday, too.
  weekdays: { name: 'day of week', low: 0, high: 7, names: WEEKDAYS },
} as const satisfies Record<string, Field>;

const MACROS: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
};

const MAX_LENGTH = 200;

/** 29 February comes once in eight years around 2100; longer than that nothing is rarer but never. */
const MAX_DAYS_AHEAD = 8 * 366 + 2;
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/**
 * Five fields (minute, hour, day of month, month, day of week) of `*`, values, ranges, steps and lists, names of months and days, or a macro
 * such as `@daily`. A reason names the field. An expression that parses may still never fire: `nextFire` says so.
 */
export function parseCron(text: string): CronVerdict {
  if (text.length > MAX_LENGTH) return refuse(`is longer than ${MAX_LENGTH} characters`);
  const trimmed = text.trim().toLowerCase();
  const parts = (Object.hasOwn(MACROS, trimmed) ? (MACROS[trimmed] as string) : trimmed).split(/\s+/);
  if (parts.length !== 5)
    return refuse('has five fields: minute, hour, day of month, month, day of week; or is a macro such as @daily');
  const sets: Record<string, ReadonlySet<number>> = {};
  for (const [at, [key, field]] of Object.entries(FIELDS).entries()) {
    const values = valuesOf(parts[at] ?? '', field);
    if (typeof values === 'string') return refuse(values);
    sets[key] = values;
  }
  const { minutes, hours, days, months, weekdays } = sets as Record<keyof typeof FIELDS, ReadonlySet<number>>;
  const eitherDay = !(parts[2] ?? '').startsWith('*') && !(parts[4] ?? '').startsWith('*');
  return { ok: true, cron: { minutes, hours, days, months, weekdays, eitherDay } };
}

const refuse = (reason: string): CronVerdict => ({ ok: false, reason });

/** The values of a field, or why it has none. */
function valuesOf(text: string, field: Field): Set<number> | string {
  const values = new Set<number>();
  for (const item of text.split(',')) {
    const [, from, to, step] = /^(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:\/(\d{1,4}))?$/.exec(item) ?? [];
    if (from === undefined || (from === '*' && to !== undefined))
      return `${field.name} ${JSON.stringify(item)} is not a value, a range, a step or *`;
    const every = step === undefined ? 1 : Number(step);
    if (every < 1) return `${field.name} ${JSON.stringify(item)} has a step of 0`;
    const first = from === '*' ? field.low : numberOf(from, field);
    const open = from === '*' || (to === undefined && step !== undefined);
    const last = open ? field.high : to === undefined ? first : numberOf(to, field);
    for (const end of [first, last])
      if (!(end >= field.low && end <= field.high))
        return `${field.name} ${JSON.stringify(item)} is not within ${field.low} to ${field.high}`;
    if (last < first) return `${field.name} ${JSON.stringify(item)} ends before it begins`;
    for (let value = first; value <= last; value += every) values.add(field.high === 7 ? value % 7 : value);
  }
  return values;
}

/** NaN for what is neither a number nor a name of the field. */
function numberOf(text: string, { names, low }: Field): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  const at = names.indexOf(text);
  return at === -1 ? Number.NaN : at + low;
}

/**
 * The first moment after `afterMs` (epoch ms) at which it fires in the time zone, or null when it never does (30 February).
 *
 * Clocks that change: with hours of its own, a time that is left out fires at the moment of the change, and one that comes twice fires the first
 * time only. With every hour (`*`), it follows the time that passes: what is left out is left out, what comes twice fires twice.
 */
export function nextFire(cron: Cron, timeZone: string, afterMs: number): number | null {
  const clock = new LocalClock(timeZone);
  // From the day before: a change of clocks may move a fire time over midnight.
  const today = asUtc({ ...clock.at(afterMs), hour: 0, minute: 0 });
  for (let ahead = -1; ahead <= MAX_DAYS_AHEAD; ahead++) {
    const day = dayOf(today + ahead * DAY_MS);
    if (!matchesDay(cron, day)) continue;
    const found =
      cron.hours.size === 24 ? byTheMinute(cron, clock, day, afterMs) : byTheHour(cron, clock, day, afterMs);
    if (found !== null) return found;
  }
  return null;
}

function dayOf(utcMs: number): LocalTime {
  const date = new Date(utcMs);
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate(), hour: 0, minute: 0 };
}

function matchesDay({ days, months, weekdays, eitherDay }: Cron, local: LocalTime): boolean {
  if (!months.has(local.month)) return false;
  const weekday = new Date(asUtc(local)).getUTCDay();
  const [byDay, byWeekday] = [days.has(local.day), weekdays.has(weekday)];
  return eitherDay ? byDay || byWeekday : byDay && byWeekday;
}

function byTheHour({ hours, minutes }: Cron, clock: LocalClock, day: LocalTime, afterMs: number): number | null {
  let first: number | null = null;
  for (const hour of hours)
    for (const minute of minutes) {
      const moment = clock.momentOf({ ...day, hour, minute });
      if (moment > afterMs && (first === null || moment < first)) first = moment;
    }
  return first;
}

function byTheMinute({ minutes }: Cron, clock: LocalClock, day: LocalTime, afterMs: number): number | null {
  const start = clock.momentOf(day);
  const end = clock.momentOf(dayOf(asUtc(day) + DAY_MS));
  const from = Math.max(start, Math.floor(afterMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS);
  for (let moment = from; moment < end; moment += MINUTE_MS) if (minutes.has(clock.at(moment).minute)) return moment;
  return null;
}
