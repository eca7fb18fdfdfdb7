import { randomUUID } from 'node:crypto';
import { KafkaBus } from '#lib/bus/kafka/kafka-bus.ts';
import type { TransactionalBus } from '#lib/bus/port.ts';
import { PostgresBus } from '#lib/bus/postgres-bus.ts';
import { type Codec, singleObjectCodec } from '#lib/contracts/codec.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import { registerSchemas } from '#lib/messaging/register-schemas.ts';
import { registryCodec } from '#lib/messaging/registry-codec.ts';
import { Database, type DatabaseOptions } from '#lib/postgres/database.ts';
import { type AttemptClaims, PostgresAttemptClaims } from '#lib/worker/attempt-claims.ts';

/** Where a test's orchestrators and workers meet: a database alone (its address), or a database and Kafka. Plain data, for child processes. */
export type Place = string | KafkaPlace;

export interface KafkaPlace {
  readonly databaseUrl: string;
  /** `kafka://host:port`. */
  readonly busUrl: string;
  readonly registryUrl: string;
  /** Of the test's own topics and groups. */
  readonly prefix: string;
}

export interface OpenPlace {
  readonly database: Database;
  readonly bus: TransactionalBus;
  readonly codec: Codec;
  readonly claims: AttemptClaims | null;
  readonly close: () => Promise<void>;
}

/** What a service opens at its start, for one more process of the place. */
export async function openPlace(
  place: Place,
  name: string,
  options: Partial<DatabaseOptions> = {},
): Promise<OpenPlace> {
  const url = typeof place === 'string' ? place : place.databaseUrl;
  const database = new Database({ url, applicationName: name, ...options });
  const bus = typeof place === 'string' ? await embedded(database) : await kafka(place, name, database);
  const codec = typeof place === 'string' ? singleObjectCodec() : await registryCodec({ url: place.registryUrl });
  const close = async (): Promise<void> => {
    await bus.close();
    await database.close();
  };
  return {
    database,
    bus,
    codec,
    claims: typeof place === 'string' ? null : new PostgresAttemptClaims(database),
    close,
  };
}

async function embedded(database: Database): Promise<PostgresBus> {
  const bus = new PostgresBus({ database });
  await bus.ensureTopics(topicSpecs());
  return bus;
}

const kafka = ({ busUrl, prefix }: KafkaPlace, name: string, database: Database): Promise<KafkaBus> =>
  KafkaBus.connect({
    url: busUrl,
    clientId: name,
    producer: `${name}-${randomUUID()}`,
    database,
    prefix,
    replication: null,
  });

/** The variables by which a program of the product finds the place. */
export const serviceEnvironment = (place: Place): Record<string, string> =>
  typeof place === 'string'
    ? { DATABASE_URL: place }
    : {
        DATABASE_URL: place.databaseUrl,
        BUS_URL: place.busUrl,
        SCHEMA_REGISTRY_URL: place.registryUrl,
        TOPIC_PREFIX: place.prefix,
      };

/** The migration step of a place on Kafka, before anything is opened there. */
export async function prepareKafkaPlace(place: KafkaPlace): Promise<void> {
  await registerSchemas({ url: place.registryUrl });
  const database = new Database({ url: place.databaseUrl, applicationName: 'migrate' });
  const bus = await kafka(place, 'migrate', database);
  await bus.ensureTopics(topicSpecs());
  await bus.close();
  await database.close();
}

/** A place as an argument of a process, and back. */
export const placeText = (place: Place): string => JSON.stringify(place);
export const placeFrom = (text: string | undefined): Place => JSON.parse(text ?? '""') as Place;
