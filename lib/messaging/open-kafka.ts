import { randomUUID } from 'node:crypto';
import { Gauge } from 'prom-client';
import { KafkaBus } from '#lib/bus/kafka/kafka-bus.ts';
import { checkKafkaSettings } from '#lib/bus/kafka/kafka-client.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import type { Database } from '#lib/postgres/database.ts';
import { untilReachable } from '#lib/service/until-reachable.ts';
import { kafkaSettings, registrySettings } from './kafka-settings.ts';
import type { Messaging, MessagingService } from './open.ts';
import { registryCodec } from './registry-codec.ts';

/** Waits until the registry has this release's schemas and the cluster its topics. Loaded only with kafka://: its packages take 12 MB. */
export async function openKafka(service: MessagingService, database: Database): Promise<Messaging> {
  const { config, name, logger } = service;
  const settings = kafkaSettings(config, `trainyard-${name}`);
  checkKafkaSettings(settings);
  const registry = registrySettings(config);
  const codec = await untilReachable(service, { name: 'schema registry', variable: 'SCHEMA_REGISTRY_URL' }, () =>
    registryCodec(registry),
  );
  const bus = await untilReachable(service, { name: 'bus', variable: 'BUS_URL' }, async () => {
    await KafkaBus.probe(settings);
    const connected = await KafkaBus.connect({
      ...settings,
      database,
      producer: `${name}-${randomUUID()}`,
      log: (level, message, fields) => logger[level](fields, `kafka: ${message}`),
    });
    try {
      await connected.requireTopics(topicSpecs());
      return connected;
    } catch (error) {
      await connected.close();
      throw error;
    }
  });
  showOutbox(service, bus);
  return { bus, codec };
}

function showOutbox(service: MessagingService, bus: KafkaBus): void {
  new Gauge({
    name: 'trainyard_outbox_rows',
    help: 'Commits whose messages wait in the database for the broker, of all services; near 0 while Kafka answers',
    registers: [service.metrics],
    async collect() {
      try {
        this.set(await bus.outboxRows());
      } catch {
        // A database that cannot be asked shows nothing rather than an old figure.
        this.reset();
      }
    },
  });
}
