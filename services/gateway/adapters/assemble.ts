import type { Codec } from '#lib/contracts/codec.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { Database } from '#lib/postgres/database.ts';
import { PostgresPromotionLedger } from '#lib/promotion/postgres-ledger.ts';
import { PostgresTraffic } from '#lib/serving/postgres-traffic.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { Registry } from '#lib/service/metrics.ts';
import type { Readiness } from '#lib/service/readiness.ts';
import { Authenticator } from '../app/api-keys.ts';
import type { SlotSpeed } from '../domain/estimate.ts';
import { assembleCompletions, type InferenceAddress } from './assemble-completions.ts';
import type { HttpLimits, HttpServices } from './http/app-types.ts';
import { EventTail } from './http/event-tail.ts';
import { httpMetrics } from './http/http-metrics.ts';
import { PostgresApprovalStore } from './postgres/approval-store.ts';
import { PostgresDatasetStore } from './postgres/dataset-store.ts';
import { tailEvents } from './postgres/event-queries.ts';
import { PostgresJobStore, type TransactionalPublisher } from './postgres/job-store.ts';
import { PostgresKeyStore } from './postgres/key-store.ts';

/** Puts the gateway together over what `main.ts` (or a test) has opened. Opens nothing itself. */
export function assembleGateway(parts: {
  readonly database: Database;
  readonly bus: TransactionalPublisher;
  readonly codec: Codec;
  readonly registry: ModelRegistry;
  readonly objects: ObjectStore;
  readonly codeCommit: string;
  readonly slotSpeed: SlotSpeed;
  readonly limits: HttpLimits;
  readonly readiness: Readiness;
  readonly metrics: Registry;
  readonly logger: Logger;
  /** Absent: no completions. */
  readonly inference?: InferenceAddress;
}): HttpServices {
  const { database, bus, codec, registry, objects, codeCommit, slotSpeed, limits, readiness, metrics, logger } = parts;
  const now = (): number => Date.now();
  const keys = new PostgresKeyStore(database);
  const traffic = new PostgresTraffic(database);
  const { inference = {} } = parts;
  const promotions = new PostgresPromotionLedger(database);
  return {
    gateway: {
      promotions,
      keys,
      jobs: new PostgresJobStore(database, bus),
      datasets: new PostgresDatasetStore(database),
      registry,
      objects,
      codec,
      codeCommit,
      slotSpeed,
      now,
    },
    database,
    promotions,
    traffic,
    completions: assembleCompletions({ database, bus, codec, registry, traffic, inference, metrics, now }),
    keys,
    approvals: new PostgresApprovalStore(database),
    authenticator: new Authenticator(keys, now),
    readiness,
    metrics,
    httpMetrics: httpMetrics(metrics),
    tail: new EventTail((streams, limit) => tailEvents(database, streams, limit), logger),
    limits,
    logger,
  };
}
