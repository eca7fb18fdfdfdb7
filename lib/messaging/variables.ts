import { type Static, Type } from '#typebox';
import { VARIABLES } from '#lib/service/config.ts';

/** What every service reads about the bus. Everything below BUS_URL matters with `kafka://` only. */
export const MESSAGING_VARIABLES = {
  BUS_URL: VARIABLES.BUS_URL,
  SCHEMA_REGISTRY_URL: Type.Optional(
    Type.String({
      pattern: '^https?://',
      description: 'Confluent-compatible schema registry, with its path; needed with kafka://',
    }),
  ),
  SCHEMA_REGISTRY_USERNAME: Type.Optional(Type.String({ minLength: 1, description: 'user of the schema registry' })),
  SCHEMA_REGISTRY_PASSWORD: Type.Optional(Type.String({ minLength: 1, description: 'its password' })),
  TOPIC_PREFIX: Type.String({
    pattern: '^[A-Za-z0-9._-]{0,64}$',
    default: '',
    description: 'put before the name of every topic and consumer group: several platforms can share a cluster',
  }),
  KAFKA_REPLICATION: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 32_767, description: "copies of new topics; default: the cluster's" }),
  ),
  KAFKA_TLS: Type.Boolean({ default: false, description: '1: TLS to the brokers' }),
  KAFKA_TLS_CA_FILE: Type.Optional(
    Type.String({ minLength: 1, description: 'PEM file of the authority that signed the brokers; implies KAFKA_TLS' }),
  ),
  KAFKA_SASL_MECHANISM: Type.Optional(
    Type.Union([Type.Literal('plain'), Type.Literal('scram-sha-256'), Type.Literal('scram-sha-512')], {
      description: 'how to log in; absent: without',
    }),
  ),
  KAFKA_SASL_USERNAME: Type.Optional(Type.String({ minLength: 1, description: 'user of KAFKA_SASL_MECHANISM' })),
  KAFKA_SASL_PASSWORD: Type.Optional(Type.String({ minLength: 1, description: 'its password' })),
} as const;

/** The same as a schema of their own, for the migration step. */
export const MessagingConfig = Type.Object(MESSAGING_VARIABLES);
export type MessagingConfig = Static<typeof MessagingConfig>;
