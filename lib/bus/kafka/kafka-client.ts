import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import kafkajs, { type Kafka, type KafkaConfig, type RetryOptions, type SASLOptions } from 'kafkajs';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { guardKafkajs } from './kafkajs-guards.ts';

/** How to reach a cluster; everything but the addresses is optional. */
export interface KafkaSettings {
  /** `kafka://host:port[,host:port]`. */
  readonly url: string;
  /** Shown in the broker's logs and quotas. */
  readonly clientId: string;
  /** TLS; a file adds the certificate authority in it (PEM) to the system's. */
  readonly tls?: { readonly caFile?: string };
  readonly sasl?: SASLOptions;
  /** Warnings and errors of the client; its routine messages are dropped. */
  readonly log?: (level: 'warn' | 'error', message: string, fields: object) => void;
}

/** A broker that does not accept a connection within this time is as good as down. */
const CONNECTION_TIMEOUT_MS = 3_000;
/** Fetches wait 100 ms at most; joins bring their own, longer limit. */
const REQUEST_TIMEOUT_MS = 15_000;
/** A single broker that was killed and started again is back after 5 to 15 s (facts of the design): retry that long, then say so. */
const RETRY: RetryOptions = { initialRetryTime: 100, maxRetryTime: 2_000, retries: 12 };
/** Every broker of a small cluster is tried once. */
const PROBE_RETRY: RetryOptions = { initialRetryTime: 100, maxRetryTime: 500, retries: 2 };

/**
 * A client; nothing is connected yet. Throws `ValidationFailed` naming BUS_URL or KAFKA_TLS_CA_FILE for settings that cannot be meant.
 */
export function kafkaClient(settings: KafkaSettings, retry: RetryOptions = RETRY): Kafka {
  guardKafkajs();
  return new kafkajs.Kafka({ ...clientConfig(settings), retry });
}

/** Throws what `kafkaClient` throws: for a start that has other things to wait for first. */
export function checkKafkaSettings(settings: KafkaSettings): void {
  clientConfig(settings);
}

/**
 * Whether a broker answers to these settings, within seconds: a client in use is patient for 17 s before it says that none does. Throws as
 * `kafkaClient`, and kafkajs's own errors.
 */
export async function probeKafka(settings: KafkaSettings): Promise<void> {
  const admin = kafkaClient(settings, PROBE_RETRY).admin();
  try {
    await admin.connect();
    // A listener that expects a login lets anybody connect, and hangs up at the first question.
    await admin.describeCluster();
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** What kafkajs is told. Its own routine log is dropped: a consumer that pauses a partition would log a line each time. */
function clientConfig(settings: KafkaSettings): KafkaConfig {
  const { clientId, tls, sasl, log } = settings;
  return {
    clientId,
    brokers: brokersOf(settings.url),
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    ...(tls === undefined ? {} : { ssl: tls.caFile === undefined ? true : { ca: [authorityIn(tls.caFile)] } }),
    ...(sasl === undefined ? {} : { sasl }),
    logLevel: kafkajs.logLevel.WARN,
    logCreator:
      () =>
      ({ level, log: { message, timestamp: _, logger: __, ...fields } }) =>
        log?.(level === kafkajs.logLevel.ERROR ? 'error' : 'warn', message, fields),
  };
}

/** `kafka://a:9092,b:9092` -> `['a:9092', 'b:9092']`. */
export function brokersOf(url: string): string[] {
  const brokers = /^kafka:\/\/([^/?#]+)\/?$/.exec(url)?.[1]?.split(',') ?? [];
  const wellFormed = brokers.every((broker) => /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}$/.test(broker));
  if (brokers.length > 0 && wellFormed) return brokers;
  // Not repeated: a password may have been put into it.
  const reason = 'must be kafka://host:port or kafka://host:port,host:port';
  throw new TrainyardError('ValidationFailed', `BUS_URL cannot be used: it ${reason}`, {
    fields: [{ pointer: '/BUS_URL', message: reason }],
  });
}

function authorityIn(file: string): string {
  try {
    const text = readFileSync(file, 'utf8');
    // Node takes any text for an authority and then trusts nobody.
    new X509Certificate(text);
    return text;
  } catch (cause) {
    throw new TrainyardError('ValidationFailed', `KAFKA_TLS_CA_FILE cannot be used: ${messageOf(cause)}`, {
      fields: [{ pointer: '/KAFKA_TLS_CA_FILE', message: messageOf(cause) }],
      cause,
    });
  }
}
