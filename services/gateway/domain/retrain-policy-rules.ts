import type { RetrainPolicy } from '#lib/contracts/retrain-policy.ts';
import { nextFire, parseCron } from '#lib/kernel/cron.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { isTimeZone } from '#lib/kernel/local-clock.ts';
import { parseSubmission } from './submission.ts';

export type PolicyVerdict =
  | { readonly ok: true; readonly nextFireAtMs: number | null }
  | { readonly ok: false; readonly fields: readonly FieldError[] };

/** What no schema can say of a policy: a job that would be refused, a schedule that never fires. `nextFireAtMs`: of its schedule, if it has one. */
export function checkRetrainPolicy(model: string, policy: RetrainPolicy, nowMs: number): PolicyVerdict {
  const fields = [...nameFields(model, policy), ...jobFields(model, policy)];
  const schedule = checkSchedule(policy, nowMs);
  if (!schedule.ok) fields.push(...schedule.fields);
  const { windowMs, latenessMs } = policy.drift;
  if (latenessMs > MAX_OPEN_WINDOWS * windowMs)
    fields.push({
      pointer: '/drift/latenessMs',
      message: `must be at most ${MAX_OPEN_WINDOWS} times windowMs: every open window is kept in memory`,
    });
  return fields.length > 0 || !schedule.ok ? { ok: false, fields } : { ok: true, nextFireAtMs: schedule.nextFireAtMs };
}

/** Each window that is still open costs the drift monitor up to some megabytes. */
const MAX_OPEN_WINDOWS = 10;

/** The policy's job as its signal would make it. */
export const retrainSpecOf = (
  model: string,
  spec: unknown,
  reason: { readonly source: string; readonly signalId: string; readonly causes: readonly string[] },
): unknown => (isObject(spec) ? { ...spec, model: { name: model }, reason } : spec);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The job is about the policy's model, whatever the spec says; a spec that says something else is a mistake. */
function nameFields(model: string, { spec }: RetrainPolicy): readonly FieldError[] {
  const named = isObject(spec) && isObject(spec['model']) ? spec['model']['name'] : undefined;
  if (named === undefined || named === model) return [];
  return [{ pointer: '/spec/model/name', message: `must be ${model}, the model of the policy, or absent` }];
}

/** The job's pointers are the policy's: both have it in `spec`. */
function jobFields(model: string, { spec }: RetrainPolicy): readonly FieldError[] {
  const reason = { source: 'manual', signalId: 'signal', causes: [] };
  const parsed = parseSubmission({ type: 'retrain', spec: retrainSpecOf(model, spec, reason) }, undefined, true);
  return parsed.ok ? [] : parsed.fields;
}

function checkSchedule({ schedule }: RetrainPolicy, nowMs: number): PolicyVerdict {
  if (schedule === undefined) return { ok: true, nextFireAtMs: null };
  const parsed = parseCron(schedule.cron);
  const fields: FieldError[] = [];
  if (!parsed.ok) fields.push({ pointer: '/schedule/cron', message: parsed.reason });
  if (!isTimeZone(schedule.timeZone))
    fields.push({ pointer: '/schedule/timeZone', message: 'is no time zone of the IANA database' });
  if (!parsed.ok || fields.length > 0) return { ok: false, fields };
  const nextFireAtMs = nextFire(parsed.cron, schedule.timeZone, nowMs);
  return nextFireAtMs === null
    ? { ok: false, fields: [{ pointer: '/schedule/cron', message: 'never fires' }] }
    : { ok: true, nextFireAtMs };
}
