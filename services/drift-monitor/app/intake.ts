import type { OutgoingMessage, ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { deadLetter, decodeMessage } from '#lib/contracts/envelope.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import { NEVER_TRAINED } from '../domain/drift-decider.ts';
import type { TakenObservation, Taking } from '../domain/model-watch.ts';
import { acceptObservation } from '../domain/observation.ts';
import { type DriftStore, modelId, type SignalRow, versionId, type VersionKey } from './ports.ts';
import { decideWindows, type JudgedVersion, signalMessages } from './signals.ts';
import { type CachedWatch, MAX_WATCHES, WatchCache } from './watch-cache.ts';

const CONSUMER = 'drift-monitor';

/** Versions of one transaction at most: those of a batch are in memory together. */
const MAX_VERSIONS = MAX_WATCHES / 2;

/** Silent versions looked at in one go; most belong to other monitors when there are several. */
const MAX_DUE = 1_000;

export interface IntakePorts {
  readonly codec: Codec;
  readonly store: DriftStore;
  readonly subscription: Pick<Subscription, 'commit'>;
}

export interface IntakeCounts {
  /** By what became of them: a standing, `stored`, `sampledOut`, `unknownVersion`, `refused`. An observation may count in several. */
  readonly observations: Readonly<Record<string, number>>;
  /** Closed windows, by `signalled` or the reason why not. */
  readonly windows: Readonly<Record<string, number>>;
}

/**
 * From observations to signals. What belongs together (observations, labels, windows, the decision, its message) is stored in one transaction per few
 * versions; positions follow. So a batch may come again: its ids are known then, and nothing is counted in a window twice. After an error the
 * caller rewinds the subscription; what was changed in memory is read again.
 */
export class Intake {
  readonly #ports: IntakePorts;
  readonly #cache: WatchCache;
  /** By partition: everything that was sent there before is taken in. */
  readonly #readUpToMs = new Map<number, number>();

  /** `observationsPerWindow`: beyond it a version's observations are thinned (`domain/flood-gate.ts`). */
  constructor(ports: IntakePorts, limits: { readonly observationsPerWindow: number }) {
    this.#ports = ports;
    this.#cache = new WatchCache(ports.store, limits.observationsPerWindow);
  }

  /** One batch. */
  async take(messages: readonly ReceivedMessage[], nowMs: number): Promise<IntakeCounts> {
    const { codec, subscription } = this.#ports;
    await codec.prepare(messages.map((message) => message.value));
    const { versions, letters, sentMs } = accept(codec, messages, nowMs);
    const tally = new Tally();
    tally.observations('refused', letters.length);
    const chunks = chunksOf([...versions.values()], MAX_VERSIONS);
    // Letters go with the last one: a batch that fails before comes again, and would send them again.
    for (const [at, chunk] of chunks.entries())
      await this.#turn(chunk, at === chunks.length - 1 ? letters : [], nowMs, tally);
    if (chunks.length === 0 && letters.length > 0) await this.#ports.store.transaction((tx) => tx.publish(letters));
    const ends = new Map(
      messages.map((m) => [m.partition, { topic: m.topic, partition: m.partition, nextOffset: m.offset + 1 }]),
    );
    await subscription.commit([...ends.values()]);
    for (const [partition, atMs] of sentMs)
      this.#readUpToMs.set(partition, Math.max(this.#readUpToMs.get(partition) ?? 0, atMs));
    return tally.counts();
  }

  /**
   * Closes the windows of versions that fell silent, in this monitor's own partitions, by the time up to which each is read: that at which its
   * newest message was sent, or now when a poll found nothing (`quiet`). So a backlog, however it is cut into batches, is never taken for silence, and
   * a busy neighbour on the partition keeps no window open.
   */
  async closeByClock(clock: {
    readonly nowMs: number;
    readonly quiet: boolean;
    readonly own: ReadonlySet<number>;
    readonly partitions: number;
  }): Promise<IntakeCounts> {
    const tally = new Tally();
    const due = await this.#ports.store.due(clock.nowMs, MAX_DUE);
    const silent = due.flatMap(({ dueAtMs, ...key }): VersionBatch[] => {
      const partition = partitionOf(key.model, clock.partitions);
      const clockMs = clock.quiet ? clock.nowMs : (this.#readUpToMs.get(partition) ?? 0);
      return clock.own.has(partition) && dueAtMs <= clockMs ? [{ key, batch: [], clockMs }] : [];
    });
    for (const chunk of chunksOf(silent, MAX_VERSIONS)) await this.#turn(chunk, [], clock.nowMs, tally);
    return tally.counts();
  }

  async #turn(
    versions: readonly VersionBatch[],
    letters: readonly OutgoingMessage[],
    nowMs: number,
    tally: Tally,
  ): Promise<void> {
    const keys = versions.map(({ key }) => key);
    try {
      const watches = await this.#cache.open(keys);
      const takings: Taking[] = [];
      for (const [at, { key, batch, clockMs }] of versions.entries()) {
        const { watch } = watches[at] as CachedWatch;
        const admitted = watch.admit(batch);
        const ids = [...new Set(admitted.map(({ observation }) => observation.observationId))];
        const known = ids.length === 0 ? new Map() : await this.#ports.store.known(key, ids);
        const taking = watch.take(admitted, known, { nowMs: clockMs ?? nowMs, caughtUp: clockMs !== undefined });
        takings.push(taking);
        tally.taking(taking, batch.length - admitted.length, watches[at]?.referenceRevision === null);
      }
      const changed = watches.filter(
        (_, at) => (versions[at]?.batch.length ?? 0) > 0 || (takings[at]?.judged.length ?? 0) > 0,
      );
      const rows = await this.#commit({ watches, takings, changed }, letters, nowMs);
      for (const { reason, outcome } of rows) tally.windows(reason ?? outcome);
    } catch (error) {
      this.#cache.forget(keys);
      throw error;
    }
  }

  async #commit(
    { watches, takings, changed }: TurnResult,
    letters: readonly OutgoingMessage[],
    nowMs: number,
  ): Promise<SignalRow[]> {
    const judged = watches.flatMap((cached, at): (JudgedVersion & { readonly cached: CachedWatch })[] => {
      const windows = takings[at]?.judged ?? [];
      const { project, model, version, watch, settings } = cached;
      const key = { project, model, version };
      return windows.length === 0 ? [] : [{ key, policy: settings.drift, windows, streak: watch.state.streak, cached }];
    });
    const models = [...new Map(judged.map(({ key }) => [modelId(key), key])).values()];
    const { rows, next } = await this.#ports.store.transaction(async (tx) => {
      const states = models.length === 0 ? new Map() : await tx.lockStates(models);
      const decided = decideWindows(judged, states, nowMs);
      for (const { cached, streak } of judged) cached.watch.setStreak(streak);
      await tx.saveObservations(
        takings.flatMap(({ stored }) => stored),
        nowMs,
      );
      await tx.saveLabels(
        takings.flatMap(({ labels }, at) => labels.map((label) => ({ ...(watches[at] as CachedWatch), ...label }))),
      );
      const moved = changed.map((cached) => ({ ...cached, watchRevision: (cached.watchRevision ?? 0) + 1 }));
      await tx.saveWatches(moved.map(commitOf), nowMs);
      await tx.saveSignals(decided);
      await tx.saveStates(models.map((key) => ({ ...key, state: states.get(modelId(key)) ?? NEVER_TRAINED })));
      await tx.publish([...letters, ...signalMessages(this.#ports.codec, decided)]);
      return { rows: decided, next: moved };
    });
    for (const cached of next) this.#cache.put(cached);
    return rows;
  }
}

/** What a turn made of its versions, in one order. */
interface TurnResult {
  readonly watches: readonly CachedWatch[];
  readonly takings: readonly Taking[];
  /** The clock may find nothing to close: that is no change. */
  readonly changed: readonly CachedWatch[];
}

interface VersionBatch {
  readonly key: VersionKey;
  readonly batch: readonly TakenObservation[];
  /** Time up to which the clock may close its windows; absent: only its observations do. */
  readonly clockMs?: number;
}

/** The observations by version, dead letters for what is none, and when the newest message of each partition was sent. */
function accept(
  codec: Codec,
  messages: readonly ReceivedMessage[],
  nowMs: number,
): {
  versions: Map<string, { key: VersionKey; batch: TakenObservation[] }>;
  letters: OutgoingMessage[];
  sentMs: Map<number, number>;
} {
  const sentMs = new Map<number, number>();
  const versions = new Map<string, { key: VersionKey; batch: TakenObservation[] }>();
  const letters: OutgoingMessage[] = [];
  for (const received of messages) {
    const decoded = decodeMessage(codec, received);
    if (!decoded.ok) {
      letters.push(deadLetter(codec, received, decoded, CONSUMER, nowMs));
      continue;
    }
    if (decoded.message.type !== 'ObservationRecorded') continue;
    // A sender's clock that runs ahead is no reason to close a window.
    sentMs.set(received.partition, Math.min(decoded.message.timeMs, nowMs));
    const verdict = acceptObservation(decoded.message.payload, nowMs);
    if (!verdict.ok) {
      const refusal = { code: 'ValidationFailed' as const, reason: verdict.reason };
      letters.push(deadLetter(codec, received, refusal, CONSUMER, nowMs));
      continue;
    }
    const { project, model, modelVersion: version } = verdict.observation;
    const key = { project, model, version };
    const id = versionId(key);
    const there = versions.get(id);
    if (there === undefined) versions.set(id, { key, batch: [verdict] });
    else there.batch.push(verdict);
  }
  return { versions, letters, sentMs };
}

/** Of the watch after its change: its former revision is one less, or none. */
const commitOf = ({ project, model, version, watch, watchRevision }: CachedWatch) => {
  const revision = watchRevision ?? 1;
  const formerRevision = revision === 1 ? null : revision - 1;
  return { project, model, version, formerRevision, revision, stored: watch.snapshot(), dueAtMs: watch.dueAtMs };
};

const chunksOf = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size));

class Tally {
  readonly #observations: Record<string, number> = {};
  readonly #windows: Record<string, number> = {};

  observations(outcome: string, count: number): void {
    if (count > 0) this.#observations[outcome] = (this.#observations[outcome] ?? 0) + count;
  }

  windows(outcome: string): void {
    this.#windows[outcome] = (this.#windows[outcome] ?? 0) + 1;
  }

  taking({ stored, counts }: Taking, sampledOut: number, unknown: boolean): void {
    for (const [standing, count] of Object.entries(counts)) this.observations(standing, count);
    this.observations('stored', stored.length);
    this.observations('sampledOut', sampledOut);
    if (unknown) this.observations('unknownVersion', stored.length);
  }

  counts(): IntakeCounts {
    return { observations: this.#observations, windows: this.#windows };
  }
}
