import { Gauge } from 'prom-client';
import type { TransactionalBus } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { type Codec, singleObjectCodec } from '#lib/contracts/codec.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import { usesKafka } from './kafka-settings.ts';
import type { MessagingConfig } from './variables.ts';

export interface Messaging {
  readonly bus: TransactionalBus;
  readonly codec: Codec;
}

/** What of a service is needed to open its messaging. */
export type MessagingService = Pick<
  ServiceContext<MessagingConfig>,
  'config' | 'name' | 'logger' | 'metrics' | 'readiness' | 'signal' | 'onStop'
>;

/**
 * The bus and the codec that the configuration names, ready to use; closed when the service stops. The embedded bus makes its topics itself. On
 * Kafka, topics and schemas are there because the migration step made them (migrate.ts): services only read. What cannot be reached yet is
 * waited for, and `/readyz` says why. `groups`: consumer groups whose lag this service shows in its metrics.
 */
export async function openMessaging(
  service: MessagingService,
  database: Database,
  groups: readonly string[] = [],
): Promise<Messaging> {
  const { bus, codec } = usesKafka(service.config)
    ? await (await import('./open-kafka.ts')).openKafka(service, database)
    : await openEmbedded(database);
  service.onStop('bus', () => bus.close());
  service.readiness.add('bus', () => bus.check(), 'BUS_URL');
  if (groups.length > 0) showLag(service, bus, groups);
  return { bus, codec };
}

async function openEmbedded(database: Database): Promise<Messaging> {
  const bus = new PostgresBus({ database });
  await bus.ensureTopics(topicSpecs());
  return { bus, codec: singleObjectCodec() };
}

function showLag(service: MessagingService, bus: TransactionalBus, groups: readonly string[]): void {
  new Gauge({
    name: 'trainyard_bus_lag_messages',
    help: 'Messages that a consumer group has not processed yet',
    labelNames: ['group', 'topic'],
    registers: [service.metrics],
    async collect() {
      this.reset();
      // A bus that cannot be asked shows nothing rather than an old figure.
      for (const group of groups)
        for (const row of await bus.lag(group).catch(() => []))
          this.inc({ group, topic: row.topic }, Math.max(0, row.endOffset - row.nextOffset));
    },
  });
}
