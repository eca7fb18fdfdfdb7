import { topicSpecs } from '#lib/contracts/topics.ts';
import type { Database } from '#lib/postgres/database.ts';
import { kafkaSettings, registrySettings, usesKafka } from './kafka-settings.ts';
import type { MessagingConfig } from './variables.ts';

export interface MessagingMigration {
  readonly topics: number;
  readonly schemas: readonly { readonly subject: string; readonly id: number }[];
}

/**
 * The part of the migration step that is about messages: schemas first, so that an incompatible one stops the deploy before anything is
 * changed, then topics. Idempotent. With the embedded bus there is nothing to do: null. Throws `SchemaIncompatible`, `StateConflict` (a topic
 * with another partition count), `ServiceUnavailable`, `ValidationFailed` (a variable).
 */
export async function migrateMessaging(
  config: MessagingConfig,
  database: Database,
): Promise<MessagingMigration | null> {
  if (!usesKafka(config)) return null;
  // Loaded only with kafka://: the supervisor lives on, and the packages take 12 MB.
  const [{ KafkaBus }, { registerSchemas }] = await Promise.all([
    import('#lib/bus/kafka/kafka-bus.ts'),
    import('./register-schemas.ts'),
  ]);
  const schemas = await registerSchemas(registrySettings(config));
  const bus = await KafkaBus.connect({
    ...kafkaSettings(config, 'trainyard-migrate'),
    database,
    producer: `migrate-${process.pid}`,
  });
  try {
    await bus.ensureTopics(topicSpecs());
  } finally {
    await bus.close();
  }
  return { topics: topicSpecs().length, schemas };
}
