import { canonicalJson, type Json } from '#lib/kernel/canonical-json.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import type { LoggedFact } from './facts.ts';
import { evolve, type WorkflowState } from './workflow-state.ts';
import type { WorkflowRegistry } from './workflows/registry.ts';

/** A workflow as an earlier release left it: its row and the rows of its activities and timers. */
export interface StoredProjection {
  readonly workflowId: string;
  readonly definition: string;
  readonly status: 'open' | 'parked';
  readonly state: string;
  readonly seq: number;
  readonly snapshot: WorkflowState | null;
  readonly snapshotSeq: number;
  readonly parkedReason: string | null;
  readonly activities: readonly StoredActivity[];
  readonly timers: readonly { readonly name: string; readonly fireAtMs: number }[];
}

/** The columns of an activity that follow from the log. */
export interface StoredActivity {
  readonly activityId: string;
  readonly state: string;
  readonly epoch: number;
  readonly failures: number;
  readonly preemptions: number;
  readonly notBeforeMs: number;
  readonly startToCloseMs: number;
  readonly waitingMs: number;
  readonly usefulMs: number;
  readonly lostMs: number;
}

/** A fact with the state that the machine was in after it, when it was appended. */
export interface RecordedFact extends LoggedFact {
  readonly state: string;
}

/**
 * What this code makes of a workflow that an earlier release left.
 * - `same`: it goes on exactly where it is.
 * - `differs`: it folds, to something else than what is stored.
 * - `stuck`: it does not fold: the machine throws, its definition or its state is not in this release.
 * - `parked`: it was parked before and stays so.
 * - `resumes`: it was parked before and goes on with this code.
 */
export type ReplayOutcome = 'same' | 'differs' | 'stuck' | 'parked' | 'resumes';

export interface ReplayVerdict {
  readonly workflowId: string;
  readonly definition: string;
  readonly outcome: ReplayOutcome;
  /** Why it is not the same, a line each; empty for `same`. */
  readonly reasons: readonly string[];
}

/** A fold under way. */
type Fold =
  | { readonly kind: 'folds'; readonly state: WorkflowState | null }
  | { readonly kind: 'fails'; readonly reason: string };

/** A replay under way: fed with the facts of the log one after the other, so that a log of any length takes the memory of one state. */
export interface Replay {
  readonly stored: StoredProjection;
  readonly fromStart: Fold;
  /** From the stored snapshot on; null without one. */
  readonly fromSnapshot: Fold | null;
  readonly seq: number;
  /** Facts that the log should have and has not; the first of them. */
  readonly missingSeq: number | null;
  /** The first fact after which the machine is elsewhere than it was. */
  readonly turnedOff: string | null;
}

export const beginReplay = (stored: StoredProjection): Replay => ({
  stored,
  fromStart: { kind: 'folds', state: null },
  fromSnapshot: stored.snapshot === null ? null : { kind: 'folds', state: stored.snapshot },
  seq: 0,
  missingSeq: null,
  turnedOff: null,
});

/** Takes the next fact of the log, in seq order. */
export function replayFact(registry: WorkflowRegistry, replay: Replay, recorded: RecordedFact): Replay {
  const { stored } = replay;
  const fromStart = foldOne(registry, stored.workflowId, replay.fromStart, recorded);
  const fromSnapshot =
    replay.fromSnapshot === null || recorded.seq <= stored.snapshotSeq
      ? replay.fromSnapshot
      : foldOne(registry, stored.workflowId, replay.fromSnapshot, recorded);
  const value = fromStart.kind === 'folds' ? fromStart.state?.machine.value : undefined;
  const turned = replay.turnedOff === null && value !== undefined && value !== recorded.state;
  return {
    stored,
    fromStart,
    fromSnapshot,
    seq: recorded.seq,
    missingSeq: replay.missingSeq ?? (recorded.seq === replay.seq + 1 ? null : replay.seq + 1),
    turnedOff: turned
      ? `fact ${recorded.seq} (${recorded.fact.type}) leads to ${value}, and led to ${recorded.state}`
      : replay.turnedOff,
  };
}

/** After the last fact. */
export function replayVerdict(registry: WorkflowRegistry, replay: Replay): ReplayVerdict {
  const { workflowId, definition, status, parkedReason } = replay.stored;
  const verdict = (outcome: ReplayOutcome, reasons: readonly string[]): ReplayVerdict => ({
    workflowId,
    definition,
    outcome,
    reasons,
  });
  const stuck = whyStuck(registry, replay);
  if (status === 'parked') {
    if (stuck.length > 0) return verdict('parked', stuck);
    return verdict('resumes', [`was parked: ${parkedReason ?? 'no reason is stored'}`]);
  }
  if (stuck.length > 0) return verdict('stuck', stuck);
  const differences = differencesOf(replay);
  return differences.length > 0 ? verdict('differs', differences) : verdict('same', []);
}

function foldOne(registry: WorkflowRegistry, workflowId: string, fold: Fold, { seq, fact, atMs }: RecordedFact): Fold {
  if (fold.kind === 'fails') return fold;
  try {
    return { kind: 'folds', state: evolve(registry, workflowId, fold.state, fact, atMs).state };
  } catch (error) {
    return { kind: 'fails', reason: `fact ${seq} (${fact.type}): ${messageOf(error)}` };
  }
}

function whyStuck(registry: WorkflowRegistry, replay: Replay): string[] {
  const { stored, fromStart, fromSnapshot, seq, missingSeq } = replay;
  const machine = registry.machine(stored.definition);
  if (machine === null) return [`no machine ${stored.definition} in this release`];
  if (missingSeq !== null) return [`the log lacks fact ${missingSeq}`];
  if (seq < stored.seq) return [`the log ends with fact ${seq}, the workflow is at ${stored.seq}`];
  const reasons = new Set<string>();
  for (const [name, fold] of [
    ['from the start', fromStart],
    ['from the snapshot', fromSnapshot],
  ] as const) {
    // What was parked resumes from its snapshot; the facts before it did not fold the way they do now, and nobody folds them again.
    if (fold === null || (name === 'from the start' && stored.status === 'parked' && fromSnapshot !== null)) continue;
    if (fold.kind === 'fails') reasons.add(`${name}: ${fold.reason}`);
    else if (fold.state === null) reasons.add(`${name}: the log has no start`);
    else {
      try {
        machine.restore(fold.state.machine);
      } catch (error) {
        reasons.add(`${name}: ${messageOf(error)}`);
      }
    }
  }
  return [...reasons];
}

function differencesOf({ stored, fromStart, fromSnapshot, seq, turnedOff }: Replay): string[] {
  const state = stateOf(fromStart);
  if (state === null) return [];
  const reasons: string[] = [];
  const compare: Compare = (what, before, now) => {
    if (before !== now) reasons.push(`${what} was ${shown(before)}, is ${shown(now)}`);
  };
  if (turnedOff !== null) reasons.push(turnedOff);
  if (seq > stored.seq) reasons.push(`the log goes on to fact ${seq}, the workflow is at ${stored.seq}`);
  compare('definition', stored.definition, state.start.definition);
  compare('state', stored.state, state.machine.value);
  if (state.finish !== null) reasons.push(`it would have ended ${state.finish.status}`);
  compareActivities(stored, state, compare);
  const timers = new Map(stored.timers.map((timer) => [timer.name, timer.fireAtMs]));
  for (const name of new Set([...timers.keys(), ...Object.keys(state.timers)]))
    compare(`timer ${name}`, timers.get(name), state.timers[name]);
  const resumed = fromSnapshot === null ? null : stateOf(fromSnapshot);
  if (resumed !== null && asText(resumed) !== asText(state))
    reasons.push(`the snapshot of fact ${stored.snapshotSeq} and the log lead to different states`);
  return reasons;
}

/** `placed` is the dispatcher's word for a queued attempt and not in the log. */
const ledgerState = (state: string): string => (state === 'placed' ? 'queued' : state);

function compareActivities(stored: StoredProjection, state: WorkflowState, compare: Compare): void {
  const rows = new Map(stored.activities.map((row) => [row.activityId, row]));
  for (const activityId of new Set([...rows.keys(), ...Object.keys(state.activities)])) {
    const [row, entry] = [rows.get(activityId), state.activities[activityId]];
    if (row === undefined || entry === undefined) {
      compare(`activity ${activityId}`, row && ledgerState(row.state), entry?.state);
      continue;
    }
    compare(`${activityId}: state`, ledgerState(row.state), entry.state);
    compare(`${activityId}: startToCloseMs`, row.startToCloseMs, entry.request.startToCloseMs);
    for (const member of LEDGER_NUMBERS) compare(`${activityId}: ${member}`, row[member], entry[member]);
  }
}

const LEDGER_NUMBERS = [
  'epoch',
  'failures',
  'preemptions',
  'notBeforeMs',
  'waitingMs',
  'usefulMs',
  'lostMs',
] as const satisfies readonly (keyof StoredActivity)[];

const stateOf = (fold: Fold): WorkflowState | null => (fold.kind === 'folds' ? fold.state : null);

type Value = string | number | undefined;
type Compare = (what: string, before: Value, now: Value) => void;

const shown = (value: Value): string => (value === undefined ? 'absent' : String(value));

/** One was stored and read, the other was not: members without a value are left out of both. */
const asText = (state: WorkflowState): string => canonicalJson(JSON.parse(JSON.stringify(state)) as Json);
