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

/** What callers of the bus see: `ServiceUnavailable` for trouble with the brokers, everything else as it is (a bug). */
export function asKafkaFailure(error: unknown): unknown {
  if (error instanceof TrainyardError || !isKafkajsError(error)) return error;
  return new TrainyardError('ServiceUnavailable', `Kafka cannot be reached or refused (BUS_URL): ${messageOf(error)}`, {
    cause: error,
  });
}

/** Runs it; failures come out as `asKafkaFailure` says. */
export async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asKafkaFailure(error);
  }
}
