import { Value } from '#typebox/value';
import type { OutgoingMessage, ReceivedMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { ObservationRecorded } from '#lib/contracts/generated/messages.ts';
import { CanarySettings } from '#lib/contracts/release.ts';
import { type CanaryState, lookAtCanary } from '#lib/statistics/canary.ts';
import {
  type ArmValues,
  armValues,
  lookEveryMs,
  policyOf,
  type SinceLook,
  type WatchedArms,
} from '../domain/canary-arms.ts';
import { acceptObservation } from '../domain/observation.ts';

/** An open split and when it was looked at last. */
export interface OpenSplit extends WatchedArms {
  readonly id: number;
  readonly project: string;
  readonly model: string;
  readonly jobId: string;
  readonly workflowId: string;
  /** As the workflow stored it: `CanarySettings`. */
  readonly policy: unknown;
  readonly lookedAtMs: number;
  readonly decided: boolean;
}

/** A split that the ledger ended or refused, and whose workflow waits for a verdict that no look will bring. */
export interface OverruledSplit extends Pick<OpenSplit, 'id' | 'model' | 'jobId' | 'workflowId'> {
  readonly outcome: 'superseded' | 'refused';
  /** Somebody else put the canary into prod. */
  readonly canaryInProd: boolean;
}

export interface Watch {
  readonly state: CanaryState;
  readonly sinceLook: SinceLook;
  /** Some answers of the period were those of a unit. */
  readonly unitsSeen: boolean;
}

/** What a look leads to; `verdict` is published with it, once. */
export interface LookResult {
  readonly state: CanaryState;
  readonly verdict: OutgoingMessage | null;
}

/** The watches of open splits. Any number of processes may add and look at once. */
export interface CanaryStore {
  openSplits(): Promise<readonly OpenSplit[]>;
  /** Counts each observation once, however often it comes within the hour, and each unit by its first answer of the period. Returns how many counted. */
  add(splitId: number, answers: readonly ArmValues[], nowMs: number): Promise<number>;
  /** Hands the watch to `look` and stores what it returns, with nothing seen since; false when another process looks right now or it is decided. */
  look(splitId: number, look: (watch: Watch) => LookResult, nowMs: number): Promise<boolean>;
  /** Those that have had no verdict, oldest first. */
  overruledSplits(): Promise<readonly OverruledSplit[]>;
  /** Publishes the verdict unless the split has had one, in one transaction; true when published. */
  tell(splitId: number, outcome: CanaryState['outcome'], verdict: OutgoingMessage, nowMs: number): Promise<boolean>;
  /** Forgets which observations were counted before the time. */
  forgetSeen(beforeMs: number): Promise<void>;
}

export interface CanaryWatchPorts {
  readonly store: CanaryStore;
  readonly codec: Codec;
}

/** Later than this, an observation that comes again counts again. */
const SEEN_MS = 3_600_000;

/** One batch of `production.observations`. What cannot be read is the intake's to report. Returns the number of answers that counted. */
export async function foldBatch(
  { store, codec }: CanaryWatchPorts,
  messages: readonly ReceivedMessage[],
  nowMs: number,
): Promise<number> {
  // Asked after the batch was received: what a split sends on its way comes after its row.
  const splits = (await store.openSplits()).filter(({ decided }) => !decided);
  if (splits.length === 0) return 0;
  await codec.prepare(messages.map(({ value }) => value));
  const observations = messages.flatMap((received): ObservationRecorded[] => {
    const decoded = decodeMessage(codec, received);
    if (!decoded.ok || decoded.message.type !== 'ObservationRecorded') return [];
    // What cannot be stored would fail the batch at every try, and no canary would be watched any more.
    return acceptObservation(decoded.message.payload, nowMs).ok ? [decoded.message.payload] : [];
  });
  let counted = 0;
  for (const split of splits) {
    const settings = settingsOf(split.policy);
    if (settings === null) continue;
    const answers = observations
      .filter(({ project, model }) => project === split.project && model === split.model)
      .flatMap((observation) => armValues(split, settings, observation) ?? []);
    if (answers.length > 0) counted += await store.add(split.id, answers, nowMs);
  }
  return counted;
}

type Verdicts = readonly { readonly jobId: string; readonly outcome: string }[];

/** Tells the workflows of overruled splits, and looks at every open split whose interval is over. Returns the verdicts that were published, by job. */
export async function lookAtSplits({ store, codec }: CanaryWatchPorts, nowMs: number): Promise<Verdicts> {
  const verdicts = [...(await tellOverruled({ store, codec }, nowMs))];
  const splits = (await store.openSplits()).filter(({ decided }) => !decided);
  for (const split of splits) {
    const settings = settingsOf(split.policy);
    if (settings !== null && nowMs - split.lookedAtMs < lookEveryMs(policyOf(settings))) continue;
    let outcome = 'running';
    const looked = await store.look(
      split.id,
      (watch) => {
        const state = settings === null ? unreadable(watch.state, nowMs) : lookOnce(settings, watch, nowMs);
        outcome = state.outcome;
        return { state, verdict: outcome === 'running' ? null : verdictOf(codec, split, state, nowMs) };
      },
      nowMs,
    );
    if (looked && outcome !== 'running') verdicts.push({ jobId: split.jobId, outcome });
  }
  if (splits.length > 0) await store.forgetSeen(nowMs - SEEN_MS);
  return verdicts;
}

async function tellOverruled({ store, codec }: CanaryWatchPorts, nowMs: number): Promise<Verdicts> {
  const verdicts: { jobId: string; outcome: string }[] = [];
  for (const split of await store.overruledSplits()) {
    const reports = [{ metric: 'traffic', standing: split.outcome === 'refused' ? 'SplitRefused' : 'Superseded' }];
    const outcome = overruledOutcome(split);
    if (await store.tell(split.id, outcome, verdictOf(codec, split, { outcome, reports }, nowMs), nowMs))
      verdicts.push({ jobId: split.jobId, outcome });
  }
  return verdicts;
}

/** A canary that never ran says nothing. One that was cut short fails, unless it was put into prod: a failed canary is archived, and prod left empty. */
function overruledOutcome({ outcome, canaryInProd }: OverruledSplit): 'pass' | 'fail' | 'inconclusive' {
  if (canaryInProd) return 'pass';
  return outcome === 'refused' ? 'inconclusive' : 'fail';
}

/** Null for what is none: such a canary is inconclusive at once, people decide. */
function settingsOf(policy: unknown): CanarySettings | null {
  const filled = Value.Default(CanarySettings, structuredClone(policy));
  return Value.Check(CanarySettings, filled) ? filled : null;
}

function lookOnce(settings: CanarySettings, { state, sinceLook, unitsSeen }: Watch, nowMs: number): CanaryState {
  const interval = { sequence: state.lastSequence + 1, endsAtMs: nowMs, unitsSeen, arms: sinceLook };
  const step = lookAtCanary(policyOf(settings), state, interval);
  // Values are clamped when they are taken in: moments that no values have are a damaged row, which proves nothing.
  return step.ok ? step.state : unreadable(state, nowMs);
}

const unreadable = (state: CanaryState, nowMs: number): CanaryState => ({
  ...state,
  outcome: 'inconclusive',
  decidedAtMs: nowMs,
});

/** The same split has one verdict: its id is the message's. */
function verdictOf(
  codec: Codec,
  split: Pick<OpenSplit, 'model' | 'jobId' | 'workflowId'>,
  { outcome, reports }: { readonly outcome: string; readonly reports: readonly object[] },
  nowMs: number,
): OutgoingMessage {
  return encodeMessage(codec, {
    topic: 'orchestrator.commands',
    key: split.workflowId,
    type: 'SignalWorkflow',
    payload: {
      workflowId: split.workflowId,
      signal: 'canary.verdict',
      dataJson: JSON.stringify({ outcome, reports }),
      requestedBy: 'canary-watch',
    },
    envelope: { id: `canary:${split.jobId}:${split.model}:verdict`, source: '/trainyard/drift-monitor', timeMs: nowMs },
  });
}
