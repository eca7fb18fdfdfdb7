import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import type { Bus } from '#lib/bus/port.ts';
import { type Codec, singleObjectCodec } from '#lib/contracts/codec.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import type { Database } from '#lib/postgres/database.ts';
import { kafkaSettings, registrySettings, usesKafka } from './kafka-settings.ts';
import type { MessagingConfig } from './variables.ts';

/**
 * The bus and the codec that the configuration names, for a command: what cannot be reached is an error at once (`ServiceUnavailable`, naming the
 * variable), and nothing is deleted by retention. The caller closes the bus, then the database. See `openMessaging` for services.
 */
export async function openMessagingOnce(
  config: MessagingConfig,
  name: string,
  database: Database,
): Promise<{ readonly bus: Bus; readonly codec: Codec }> {
  if (!usesKafka(config)) {
    const bus = new PostgresBus({ database, retentionIntervalMs: 0 });
    await bus.ensureTopics(topicSpecs());
    return { bus, codec: singleObjectCodec() };
  }
  // Loaded only with kafka://: the packages take 12 MB.
  const [{ KafkaBus }, { registryCodec }] = await Promise.all([
    import('#lib/bus/kafka/kafka-bus.ts'),
    import('./registry-codec.ts'),
  ]);
  const codec = await registryCodec(registrySettings(config));
  const bus = await KafkaBus.connect({
    ...kafkaSettings(config, `trainyard-${name}`),
    database,
    producer: `${name}-${process.pid}`,
  });
  try {
    await bus.requireTopics(topicSpecs());
    return { bus, codec };
  } catch (error) {
    await bus.close();
    throw error;
  }
}
