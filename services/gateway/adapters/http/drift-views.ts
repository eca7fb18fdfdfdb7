import type { Static } from '#typebox';
import type { SignalRecord, WatchRecord } from '../postgres/drift-queries.ts';
import type { PolicyRecord } from '../postgres/retrain-store.ts';
import type { DRIFT_COMPONENTS } from './drift-schemas.ts';

type Shown<C extends keyof typeof DRIFT_COMPONENTS> = Static<(typeof DRIFT_COMPONENTS)[C]>;

const time = (epochMs: number): string => new Date(epochMs).toISOString();
const timeOrNull = (epochMs: number | null | undefined): string | null => (epochMs == null ? null : time(epochMs));

export const signalView = (row: SignalRecord): Shown<'DriftSignal'> => ({
  id: row.signal_id,
  model: row.model,
  modelVersion: row.version,
  source: row.source,
  outcome: row.outcome,
  reason: row.reason,
  causes: row.causes,
  evidence: row.evidence,
  window:
    row.window_start_ms === null || row.window_end_ms === null
      ? null
      : { start: time(row.window_start_ms), end: time(row.window_end_ms) },
  number: row.number,
  at: time(row.at_ms),
  requestedBy: row.requested_by,
  jobId: row.job_id,
  refusal: row.refusal,
  retrainEndedAt: timeOrNull(row.ended_at_ms),
});

export function watchView(row: WatchRecord): Shown<'DriftWatchPage'>['items'][number] {
  const { state } = row;
  const production = state?.performance.production;
  return {
    model: row.model,
    modelVersion: row.version,
    state: stateOf(row),
    driftedWindows: state?.streak.streak ?? 0,
    watermark: timeOrNull(state?.windows.watermarkMs),
    openWindows: (state?.windows.open ?? []).map(time),
    counters: { ...state?.counters },
    meanScore: production === undefined || production.count === 0 ? null : production.sum / production.count,
    updatedAt: timeOrNull(row.updated_at_ms),
    windows: row.windows.map(({ start_ms, end_ms, outcome, reason, evidence }) => ({
      start: time(start_ms),
      end: time(end_ms),
      outcome,
      reason,
      evidence,
    })),
  };
}

function stateOf({ has_reference, in_flight, state }: WatchRecord): Shown<'DriftWatchPage'>['items'][number]['state'] {
  if (!has_reference) return 'unknownVersion';
  if (in_flight) return 'retraining';
  if (state === null) return 'silent';
  return state.streak.streak > 0 ? 'drifting' : 'watching';
}

export const policyView = (record: PolicyRecord): Shown<'StoredRetrainPolicy'> => ({
  model: record.model,
  policy: record.policy,
  updatedAt: time(record.updatedAtMs),
  nextFireAt: timeOrNull(record.nextFireAtMs),
  lastFiredAt: timeOrNull(record.lastFiredAtMs),
});
