import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Static, TSchema } from '#typebox';
import type { Database } from '#lib/postgres/database.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { TrafficStore } from '#lib/serving/port.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { Registry } from '#lib/service/metrics.ts';
import type { Readiness } from '#lib/service/readiness.ts';
import type { Authenticator } from '../../app/api-keys.ts';
import type { Gateway } from '../../app/ports.ts';
import type { PostgresApprovalStore } from '../postgres/approval-store.ts';
import type { PostgresKeyStore } from '../postgres/key-store.ts';
import type { Completions } from '../assemble-completions.ts';
import type { EventTail } from './event-tail.ts';
import type { HttpMetrics } from './http-metrics.ts';

/** Handlers get the types of the schemas that checked their input. */
interface TypeBoxProvider extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
  serializer: unknown;
}

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxProvider
>;

export interface HttpLimits {
  /** 0 = no limit. */
  readonly requestsPerMinute: number;
  readonly requestTimeoutMs: number;
  readonly uploadTimeoutMs: number;
  readonly datasetMaxBytes: number;
  /** Between two comments on a silent event stream. */
  readonly heartbeatMs: number;
}

/** What the routes need. */
export interface HttpServices {
  readonly gateway: Gateway;
  /** For reads that no use case stands between. */
  readonly database: Database;
  readonly promotions: PromotionLedger;
  readonly traffic: TrafficStore;
  readonly completions: Completions;
  readonly keys: PostgresKeyStore;
  readonly approvals: PostgresApprovalStore;
  readonly authenticator: Authenticator;
  readonly readiness: Readiness;
  readonly metrics: Registry;
  readonly httpMetrics: HttpMetrics;
  readonly tail: EventTail;
  readonly limits: HttpLimits;
  readonly logger: Logger;
}
