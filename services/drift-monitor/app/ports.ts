import type { OutgoingMessage } from '#lib/bus/port.ts';
import type { MissedRuns, SignalOutcome, SignalSource } from '#lib/contracts/retrain-policy.ts';
import type { ModelReference } from '#lib/statistics/model-reference.ts';
import type { RetrainState, Suppression } from '../domain/drift-decider.ts';
import type { StoredAnswer, StoredWatch } from '../domain/model-watch.ts';
import type { Observation } from '../domain/observation.ts';

export interface ModelKey {
  readonly project: string;
  readonly model: string;
}
export interface VersionKey extends ModelKey {
  readonly version: number;
}

/** One text per key; NUL is in no name. */
export const modelId = ({ project, model }: ModelKey): string => `${project}\u0000${model}`;
export const versionId = ({ project, model, version }: VersionKey): string =>
  `${project}\u0000${model}\u0000${version}`;

/** What tells whether a watch in memory is the stored one. Null: there is none. */
export interface WatchHead extends VersionKey {
  readonly watchRevision: number | null;
  readonly referenceRevision: number | null;
  readonly policyRevision: number | null;
}

export interface StoredPolicy {
  readonly policy: unknown;
  readonly enabled: boolean;
}

export interface LoadedVersion extends WatchHead {
  readonly stored: StoredWatch | null;
  readonly reference: (ModelReference & { readonly revision: number }) | null;
  readonly policy: StoredPolicy | null;
}

export interface WatchCommit extends VersionKey {
  /** Of the stored watch that this one continues; null: it is the first. */
  readonly formerRevision: number | null;
  readonly revision: number;
  readonly stored: StoredWatch;
  readonly dueAtMs: number | null;
}

/** A row of `drift_signals`. */
export interface SignalRow extends ModelKey {
  readonly signalId: string;
  readonly version: number | null;
  readonly source: SignalSource;
  readonly outcome: SignalOutcome;
  readonly reason: Suppression | null;
  readonly causes: readonly string[];
  /** JSON. */
  readonly evidence: Readonly<Record<string, unknown>>;
  readonly windowStartMs: number | null;
  readonly windowEndMs: number | null;
  readonly number: number | null;
  readonly atMs: number;
}

export interface EndedSignal extends ModelKey {
  readonly signalId: string;
  readonly number: number;
  /** There never was a job. */
  readonly refused: boolean;
}

export interface DueSchedule extends ModelKey {
  readonly cron: string;
  readonly timeZone: string;
  readonly missedRuns: MissedRuns;
  readonly fireAtMs: number;
}

/** A watch was changed by another monitor since it was read: nothing is stored, read it again. */
export class StaleWatchError extends Error {
  constructor(versions: readonly VersionKey[]) {
    super(`changed by another monitor: ${versions.map((v) => `${v.project}/${v.model}@${v.version}`).join(', ')}`);
    this.name = 'StaleWatchError';
  }
}

/** What is read and written together; all of it or nothing. */
export interface DriftTransaction {
  /** Locked until the end, in one order for everybody; a model that is not known yet begins with none trained. */
  lockStates(models: readonly ModelKey[]): Promise<Map<string, RetrainState>>;
  saveStates(states: readonly (ModelKey & { readonly state: RetrainState })[]): Promise<void>;
  policies(models: readonly ModelKey[]): Promise<Map<string, StoredPolicy>>;
  /** Ids that are there already stay as they are. */
  saveObservations(rows: readonly Observation[], nowMs: number): Promise<void>;
  /** A label that is there already stays. */
  saveLabels(rows: readonly (VersionKey & { readonly observationId: string; readonly label: string })[]): Promise<void>;
  /** Throws `StaleWatchError` when one is not at its former revision. */
  saveWatches(watches: readonly WatchCommit[], nowMs: number): Promise<void>;
  /** Rows that are there already stay as they are, unless they were only requested. */
  saveSignals(rows: readonly SignalRow[]): Promise<void>;
  publish(messages: readonly OutgoingMessage[]): Promise<void>;
  /** Signals that somebody asked for, oldest first; locked, those of another monitor left out. */
  requestedSignals(limit: number): Promise<SignalRow[]>;
  /** Signals whose retrain ended or was refused and of which the decider does not know; locked likewise. */
  endedSignals(limit: number): Promise<EndedSignal[]>;
  markEnded(signals: readonly { readonly project: string; readonly signalId: string }[], nowMs: number): Promise<void>;
  /** Schedules whose time has come; locked likewise. */
  dueSchedules(nowMs: number, limit: number): Promise<DueSchedule[]>;
  moveSchedule(schedule: ModelKey, nextFireAtMs: number | null, firedAtMs: number | null): Promise<void>;
}

export interface DriftStore {
  /** In the order of the keys. */
  heads(versions: readonly VersionKey[]): Promise<WatchHead[]>;
  /** In the order of the keys. */
  load(versions: readonly VersionKey[]): Promise<LoadedVersion[]>;
  /** What is stored under the ids of one version. */
  known(version: VersionKey, observationIds: readonly string[]): Promise<Map<string, StoredAnswer>>;
  /** Versions with a window that the clock may close, the longest due first. */
  due(nowMs: number, limit: number): Promise<(VersionKey & { readonly dueAtMs: number })[]>;
  transaction<T>(work: (tx: DriftTransaction) => Promise<T>): Promise<T>;
}
