import type { Codec } from '#lib/contracts/codec.ts';
import { decideDrift, NEVER_TRAINED, NO_STREAK, partsOfState } from '../domain/drift-decider.ts';
import { dueRun } from '../domain/due-run.ts';
import { settingsOf } from '../domain/watch-settings.ts';
import { type DriftStore, type DriftTransaction, type ModelKey, modelId, type SignalRow } from './ports.ts';
import { decideRequest, signalId, signalMessages } from './signals.ts';

/** Rows of one transaction at most; what is left waits for the next look, a second later. */
const MAX_ROWS = 100;

export interface UpkeepPorts {
  readonly codec: Codec;
  readonly store: DriftStore;
}

/** Settings that matter to a request are those of the decider. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/**
 * What needs no observation: retrains that ended free the way, schedules whose time has come ask, and what was asked for is decided. Several monitors
 * may do it at the same time: rows that one holds are left out by the others. Returns the decided signals by `signalled` or the reason why not.
 */
export async function keepUp({ codec, store }: UpkeepPorts, nowMs: number): Promise<Record<string, number>> {
  await store.transaction((tx) => endRetrains(tx, nowMs));
  const scheduled = await store.transaction((tx) => askOnSchedule(tx, nowMs));
  const decided = await store.transaction((tx) => decideRequests(codec, tx, nowMs));
  const counts: Record<string, number> = {};
  for (const { outcome, reason } of [...scheduled, ...decided])
    counts[reason ?? outcome] = (counts[reason ?? outcome] ?? 0) + 1;
  return counts;
}

async function endRetrains(tx: DriftTransaction, nowMs: number): Promise<void> {
  const ended = await tx.endedSignals(MAX_ROWS);
  if (ended.length === 0) return;
  const models = distinct(ended);
  const states = await tx.lockStates(models);
  for (const { number, refused, ...key } of ended) {
    const before = { ...NO_STREAK, ...(states.get(modelId(key)) ?? NEVER_TRAINED) };
    // The policy does not matter for an end.
    const { drift } = settingsOf(null, NO_LIMIT);
    const { state } = decideDrift(drift, before, { type: 'RetrainEnded', signal: number, refused }, nowMs);
    states.set(modelId(key), partsOfState(state).model);
  }
  await tx.saveStates(models.map((key) => ({ ...key, state: states.get(modelId(key)) ?? NEVER_TRAINED })));
  await tx.markEnded(ended, nowMs);
}

/** Requests of schedules, and a row for each run that is passed over; returns the latter. */
async function askOnSchedule(tx: DriftTransaction, nowMs: number): Promise<SignalRow[]> {
  const rows: SignalRow[] = [];
  for (const schedule of await tx.dueSchedules(nowMs, MAX_ROWS)) {
    const { project, model, cron, timeZone, fireAtMs } = schedule;
    const { kind, runs, nextFireAtMs } = dueRun(schedule, nowMs);
    rows.push({
      project,
      model,
      signalId: signalId('schedule', { project, model }, fireAtMs),
      version: null,
      source: 'schedule',
      outcome: kind === 'fire' ? 'requested' : 'suppressed',
      reason: kind === 'fire' ? null : 'MissedRun',
      causes: [],
      evidence: { schedule: { cron, timeZone, fireAtMs, runs } },
      windowStartMs: null,
      windowEndMs: null,
      number: null,
      atMs: nowMs,
    });
    await tx.moveSchedule(schedule, nextFireAtMs, kind === 'fire' ? nowMs : null);
  }
  await tx.saveSignals(rows);
  return rows.filter(({ outcome }) => outcome === 'suppressed');
}

async function decideRequests(codec: Codec, tx: DriftTransaction, nowMs: number): Promise<SignalRow[]> {
  const requests = await tx.requestedSignals(MAX_ROWS);
  if (requests.length === 0) return [];
  const models = distinct(requests);
  const states = await tx.lockStates(models);
  const policies = await tx.policies(models);
  const decided = requests.map((request) => {
    const { drift } = settingsOf(policies.get(modelId(request)) ?? null, NO_LIMIT);
    return decideRequest(request, drift, states, nowMs);
  });
  await tx.saveSignals(decided);
  await tx.saveStates(models.map((key) => ({ ...key, state: states.get(modelId(key)) ?? NEVER_TRAINED })));
  await tx.publish(signalMessages(codec, decided));
  return decided;
}

const distinct = (keys: readonly ModelKey[]): ModelKey[] => [
  ...new Map(keys.map(({ project, model }) => [modelId({ project, model }), { project, model }])).values(),
];
