import type { KafkaSettings } from '#lib/bus/kafka/kafka-client.ts';
import type { TopicPolicy } from '#lib/bus/kafka/kafka-topics.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { RegistrySettings } from './registry-codec.ts';
import type { MessagingConfig } from './variables.ts';

export const usesKafka = (config: Pick<MessagingConfig, 'BUS_URL'>): boolean => config.BUS_URL.startsWith('kafka://');

/** Throws `ValidationFailed` naming the variable that is missing. */
export function kafkaSettings(config: MessagingConfig, clientId: string): KafkaSettings & TopicPolicy {
  const { KAFKA_TLS: tls, KAFKA_TLS_CA_FILE: caFile, KAFKA_SASL_MECHANISM: mechanism } = config;
  const login = (): { username: string; password: string } => ({
    username: needed('KAFKA_SASL_USERNAME', config.KAFKA_SASL_USERNAME, 'KAFKA_SASL_MECHANISM is set'),
    password: needed('KAFKA_SASL_PASSWORD', config.KAFKA_SASL_PASSWORD, 'KAFKA_SASL_MECHANISM is set'),
  });
  return {
    url: config.BUS_URL,
    clientId,
    prefix: config.TOPIC_PREFIX,
    replication: config.KAFKA_REPLICATION ?? null,
    ...(tls || caFile !== undefined ? { tls: caFile === undefined ? {} : { caFile } } : {}),
    ...(mechanism === undefined ? {} : { sasl: { mechanism, ...login() } }),
  };
}

/** Throws `ValidationFailed` naming SCHEMA_REGISTRY_URL when it is missing. */
export function registrySettings(config: MessagingConfig): RegistrySettings {
  const { SCHEMA_REGISTRY_USERNAME: username, SCHEMA_REGISTRY_PASSWORD: password } = config;
  return {
    url: needed('SCHEMA_REGISTRY_URL', config.SCHEMA_REGISTRY_URL, 'BUS_URL is kafka://'),
    ...(username === undefined || password === undefined ? {} : { auth: { username, password } }),
  };
}

function needed(variable: string, value: string | undefined, because: string): string {
  if (value !== undefined) return value;
  const message = `must be set, since ${because}`;
  throw new TrainyardError('ValidationFailed', `${variable} ${message}`, {
    fields: [{ pointer: `/${variable}`, message }],
  });
}
