import { createHash } from 'node:crypto';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { assertNever } from '#lib/kernel/errors.ts';
import {
  type DriftDecision,
  decideDrift,
  type DriftPolicy,
  NEVER_TRAINED,
  NO_STREAK,
  partsOfState,
  type RetrainState,
  type WindowStreak,
} from '../domain/drift-decider.ts';
import type { JudgedWindow } from '../domain/model-watch.ts';
import { causesOf, evidenceOf, isJudged } from '../domain/signal-evidence.ts';
import { modelId, type SignalRow, type VersionKey } from './ports.ts';

const SOURCE = '/trainyard/drift-monitor';

/** A version whose windows closed, as far as a decision changes it. */
export interface JudgedVersion {
  readonly key: VersionKey;
  readonly policy: DriftPolicy;
  readonly windows: readonly JudgedWindow[];
  streak: WindowStreak;
}

/**
 * One row for each closed window, in the order of the windows; `states` and the versions' streaks are moved on. The ids follow from version and window: the
 * same window judged twice is one row and one message.
 */
export function decideWindows(
  versions: readonly JudgedVersion[],
  states: Map<string, RetrainState>,
  nowMs: number,
): SignalRow[] {
  const rows: SignalRow[] = [];
  for (const version of versions)
    for (const window of version.windows) {
      const { key, policy } = version;
      const row = {
        ...key,
        signalId: signalId('drift', key, window.endMs),
        source: 'drift' as const,
        causes: causesOf(window),
        windowStartMs: window.startMs,
        windowEndMs: window.endMs,
        atMs: nowMs,
      };
      if (window.judgement === null) {
        const evidence = { ...evidenceOf(window), missing: `no reference is stored for version ${key.version}` };
        rows.push({ ...row, evidence, outcome: 'suppressed', reason: 'UnknownVersion', number: null });
        continue;
      }
      const before = { ...version.streak, ...(states.get(modelId(key)) ?? NEVER_TRAINED) };
      const { causes } = row;
      const event = { type: 'WindowJudged' as const, windowEndMs: window.endMs, judged: isJudged(window), causes };
      const { state, decision } = decideDrift(policy, before, event, nowMs);
      const parts = partsOfState(state);
      version.streak = parts.window;
      states.set(modelId(key), parts.model);
      const streak = decision.kind === 'signal' ? policy.persistentWindows : parts.window.streak;
      rows.push({ ...row, evidence: { ...evidenceOf(window), streak }, ...outcomeOf(decision) });
    }
  return rows;
}

/** What becomes of a signal that a person, a schedule or another system asks for: budget and single flight apply, nothing else. */
export function decideRequest(
  request: SignalRow,
  policy: DriftPolicy,
  states: Map<string, RetrainState>,
  nowMs: number,
): SignalRow {
  const before = { ...NO_STREAK, ...(states.get(modelId(request)) ?? NEVER_TRAINED) };
  const source = request.source === 'schedule' ? 'schedule' : 'manual';
  const { state, decision } = decideDrift(policy, before, { type: 'SignalRequested', source }, nowMs);
  states.set(modelId(request), partsOfState(state).model);
  return { ...request, ...outcomeOf(decision) };
}

function outcomeOf(decision: DriftDecision): Pick<SignalRow, 'outcome' | 'reason' | 'number'> {
  switch (decision.kind) {
    case 'signal':
      return { outcome: 'signalled', reason: null, number: decision.signal };
    case 'suppressed':
      return { outcome: 'suppressed', reason: decision.reason, number: null };
    case 'none':
      throw new Error('a window or a request is always decided');
    default:
      return assertNever(decision);
  }
}

/** The same occasion is the same id: letters, digits and dashes, as an idempotency key. */
export const signalId = (source: string, key: object, occasion: number): string =>
  `${source}-${createHash('sha256')
    .update(JSON.stringify([...Object.values(key), occasion]))
    .digest('hex')
    .slice(0, 40)}`;

/** The messages of the rows that are signals; each row's id is its message's. */
export const signalMessages = (codec: Codec, rows: readonly SignalRow[]): OutgoingMessage[] =>
  rows
    .filter(({ outcome }) => outcome === 'signalled')
    .map(({ signalId: id, project, model, version, source, causes, evidence, atMs }) =>
      encodeMessage(codec, {
        topic: 'retrain.signals',
        key: model,
        type: 'RetrainSignalled',
        payload: {
          signalId: id,
          project,
          model,
          modelVersion: version,
          source,
          causes: [...causes],
          detailJson: JSON.stringify(evidence),
          atMs,
        },
        envelope: { id, source: SOURCE, timeMs: atMs },
      }),
    );
