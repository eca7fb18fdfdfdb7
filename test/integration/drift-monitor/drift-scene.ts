import type { ReceivedMessage } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { ObservationRecorded, RetrainSignalled } from '#lib/contracts/generated/messages.ts';
import { TOPICS, topicSpecs } from '#lib/contracts/topics.ts';
import { partitionOf } from '#lib/kernel/partition.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import type { Database } from '#lib/postgres/database.ts';
import { buildReferenceProfile } from '#lib/statistics/build-reference-profile.ts';
import type { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import { PostgresDriftStore } from '../../../services/drift-monitor/adapters/postgres-drift-store.ts';
import { Intake, type IntakeCounts } from '../../../services/drift-monitor/app/intake.ts';
import { createTestDatabase } from '../../support/database.ts';
import { codec } from '../../support/engine-harness.ts';

export const NOW = 1_800_000_000_000;
export const WINDOW_MS = 1_000;

export interface SignalRecord {
  readonly signal_id: string;
  readonly version: number | null;
  readonly source: string;
  readonly outcome: string;
  readonly reason: string | null;
  readonly causes: string[];
  readonly evidence: Record<string, unknown>;
  readonly window_end_ms: number | null;
  readonly number: number | null;
}

export interface Scene {
  readonly database: Database;
  readonly bus: PostgresBus;
  readonly store: PostgresDriftStore;
  /** An intake as a new process has it. */
  intake(limits?: { observationsPerWindow: number }): Intake;
  /** A batch, as if it came from the bus. */
  take(intake: Intake, observations: readonly ObservationRecorded[], nowMs?: number): Promise<IntakeCounts>;
  reference(model: string, version?: number, performance?: ReferencePerformance): Promise<void>;
  policy(model: string, drift?: Record<string, unknown>, enabled?: boolean): Promise<void>;
  signals(model: string): Promise<SignalRecord[]>;
  /** What lies on the bus for a model. */
  published(model: string): Promise<RetrainSignalled[]>;
  close(): Promise<void>;
}

export async function openScene(): Promise<Scene> {
  const db = await createTestDatabase({ maxConnections: 6 });
  const { database } = db;
  const bus = new PostgresBus({ database, retentionIntervalMs: 0 });
  await bus.ensureTopics(topicSpecs());
  await database.query("insert into projects (id) values ('demo') on conflict do nothing");
  const store = new PostgresDriftStore(database, bus);
  return {
    database,
    bus,
    store,
    intake: (limits = { observationsPerWindow: 100_000 }) =>
      new Intake({ codec, store, subscription: { commit: async () => undefined } }, limits),
    take: (intake, observations, nowMs = NOW) => intake.take(observations.map(received), nowMs),
    reference: async (model, version = 1, performance) => {
      await database.query(
        `insert into model_references (project, model, version, profile, performance, updated_at_ms) values ('demo', $1, $2, $3, $4, $5)`,
        [
          model,
          version,
          JSON.stringify(trained()),
          performance === undefined ? null : JSON.stringify(performance),
          NOW,
        ],
      );
    },
    policy: async (model, drift = {}, enabled = true) => {
      const policy = { spec: {}, enabled, drift: { ...FAST, ...drift } };
      await database.query(
        `insert into retrain_policies (project, model, policy, enabled, updated_at_ms) values ('demo', $1, $2, $3, $4)
         on conflict (project, model) do update set policy = excluded.policy, enabled = excluded.enabled, revision = nextval('drift_revisions')`,
        [model, JSON.stringify(policy), enabled, NOW],
      );
    },
    signals: async (model) =>
      (
        await database.query<SignalRecord>(
          'select signal_id, version, source, outcome, reason, causes, evidence, window_end_ms, number from drift_signals where model = $1 order by seq',
          [model],
        )
      ).rows,
    published: (model) => published(bus, model),
    close: async () => {
      await bus.close();
      await db.drop();
    },
  };
}

const FAST = { windowMs: WINDOW_MS, latenessMs: 100, minimumObservations: 100, persistentWindows: 2 };

function trained() {
  const random = mulberry32(1);
  const rows = Array.from({ length: 4_000 }, () => ({ x: random.next(), y: random.next() }));
  const options = { datasetDigest: 'a'.repeat(64), seed: 1, sampleSize: 4_096, bins: 10, maxCategories: 10 };
  const verdict = buildReferenceProfile(rows, options);
  if (!verdict.ok) throw new Error(verdict.reason);
  return verdict.profile;
}

/** Observations spread over a window, counted from 0; `shift` moves the feature x. */
export function windowful(
  model: string,
  window: number,
  change: { shift?: number; count?: number; version?: number; label?: string | null } = {},
): ObservationRecorded[] {
  const { shift = 0, count = 300, version = 1, label = null } = change;
  const random = mulberry32(1_000 * window + version);
  return Array.from({ length: count }, (_, n) => ({
    observationId: `o${window}-${n}`,
    project: 'demo',
    model,
    modelVersion: version,
    observedAtMs: NOW - 3_600_000 + window * WINDOW_MS + Math.floor((n * WINDOW_MS) / count),
    featuresJson: JSON.stringify({ x: random.next() + shift, y: random.next() }),
    prediction: 'yes',
    score: null,
    label,
    routingUnit: null,
  }));
}

export const observationMessage = (payload: ObservationRecorded) =>
  encodeMessage(codec, {
    topic: 'production.observations',
    key: payload.model,
    type: 'ObservationRecorded',
    payload,
    envelope: { id: payload.observationId, source: '/model-server', timeMs: payload.observedAtMs },
  });

const received = (payload: ObservationRecorded, offset: number): ReceivedMessage => {
  const { topic, key, headers, value } = observationMessage(payload);
  const partition = partitionOf(key, TOPICS['production.observations'].partitions);
  return { topic, partition, offset, key, headers, value };
};

let readers = 0;
async function published(bus: PostgresBus, model: string): Promise<RetrainSignalled[]> {
  const reader = await bus.subscribe({
    groupId: `reader-${readers++}`,
    topics: ['retrain.signals'],
    from: 'beginning',
  });
  const messages = await reader.poll({ maxMessages: 1_000, maxWaitMs: 0 });
  await reader.close();
  return messages.flatMap((message) => {
    const decoded = decodeMessage(codec, message);
    if (!decoded.ok) throw new Error(decoded.reason);
    const { payload, type } = decoded.message;
    return type === 'RetrainSignalled' && payload.model === model ? [payload] : [];
  });
}
