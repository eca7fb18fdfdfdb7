import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

/** What a broker answers to a commit of a member that is not, or no longer, in the generation it speaks for. */
const STALE_MEMBER: readonly string[] = [
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'REBALANCE_IN_PROGRESS',
  'FENCED_INSTANCE_ID',
];

const typeOf = (error: unknown): string | null => {
  const { type, cause } = error as { type?: unknown; cause?: unknown };
  if (typeof type === 'string') return type;
  return cause instanceof Error ? typeOf(cause) : null;
};

export const isStaleMember = (error: unknown): boolean => STALE_MEMBER.includes(typeOf(error) ?? '');

export const isUnknownTopic = (error: unknown): boolean => typeOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION';

const isKafkajsError = (error: unknown): boolean => error instanceof Error && error.name.startsWith('KafkaJS');

/** What Node says when it cannot trust a certificate, by the beginnings of its codes. */
const UNTRUSTED = /^(?:DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET)|CERT_|ERR_TLS_CERT)/;

/** A connection that the other side ended before a word was understood: often one speaks TLS and the other does not, or a login is expected. */
const CUT_OFF = ['KafkaJSConnectionClosedError', 'KafkaJSConnectionError'];

/** What callers of the bus see: `ServiceUnavailable` for trouble with the brokers, everything else as it is (a bug). */
export function asKafkaFailure(error: unknown): unknown {
  if (error instanceof TrainyardError || !isKafkajsError(error)) return error;
  const message = `Kafka cannot be reached or refused (${variablesOf(error)}): ${messageOf(error)}`;
  return new TrainyardError('ServiceUnavailable', message, { cause: error });
}

/** The settings that people look at first for this failure. */
function variablesOf(error: unknown): string {
  const causes = causesOf(error);
  if (causes.some(({ name }) => name === 'KafkaJSSASLAuthenticationError'))
    return 'KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD';
  if (causes.some(({ code }) => typeof code === 'string' && UNTRUSTED.test(code))) return 'KAFKA_TLS_CA_FILE';
  if (causes.some(({ type }) => type === 'ILLEGAL_SASL_STATE' || type === 'UNSUPPORTED_SASL_MECHANISM'))
    return 'KAFKA_SASL_MECHANISM';
  // Refused, unknown host and too late have nothing to do with what is spoken.
  const unspoken = causes.some(({ code }) => code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN');
  if (!unspoken && causes.some(({ name }) => CUT_OFF.includes(name)))
    return 'BUS_URL; KAFKA_TLS and KAFKA_SASL_MECHANISM as the listener expects them';
  return 'BUS_URL';
}

interface Cause {
  readonly name: string;
  readonly code?: unknown;
  readonly type?: unknown;
}

/** The error and what it was made of. */
function causesOf(error: unknown): Cause[] {
  const causes: Cause[] = [];
  for (let each = error; each instanceof Error && causes.length < 10; each = each.cause) causes.push(each);
  return causes;
}

/** Runs it; failures come out as `asKafkaFailure` says. */
export async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asKafkaFailure(error);
  }
}
