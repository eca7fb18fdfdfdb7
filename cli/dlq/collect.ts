import type { Bus, ReceivedMessage } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { decodeMessage } from '#lib/contracts/envelope.ts';
import type { DeadLetter } from '#lib/contracts/generated/messages.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Letters } from './letters.ts';

const TOPIC = 'trainyard.dlq';
/** Position of all these commands together: each goes on where the last one ended. */
const GROUP = 'dlq-command';
/** A command that was killed gives the topic free after this. */
const SESSION_TIMEOUT_MS = 10_000;
/** A letter may be a megabyte. */
const MAX_BATCH = 100;
const POLL_MS = 250;
/** Longer than a session: one command waits for another that died. */
const READ_WITHIN_MS = 60_000;
/** With the topic assigned and nothing coming for this long, what is missing is no longer there: retention took it. */
const QUIET_MS = 5_000;

/**
 * Brings the table up to the end of the topic. Idempotent; parallel calls share the work. Returns how many letters the topic has lost to its
 * retention before anybody read them. Throws `ServiceUnavailable` when the end is not reached within a minute.
 */
export async function collectLetters(desk: {
  readonly bus: Bus;
  readonly codec: Codec;
  readonly letters: Letters;
}): Promise<number> {
  const { bus, letters } = desk;
  const subscription = await bus.subscribe({
    groupId: GROUP,
    topics: [TOPIC],
    from: 'beginning',
    sessionTimeoutMs: SESSION_TIMEOUT_MS,
  });
  try {
    const deadline = performance.now() + READ_WITHIN_MS;
    let lastMessageAt = performance.now();
    while (performance.now() < deadline) {
      const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: POLL_MS });
      const last = messages.at(-1);
      if (last !== undefined) {
        await store(desk, messages);
        await subscription.commit([{ topic: TOPIC, partition: last.partition, nextOffset: last.offset + 1 }]);
        lastMessageAt = performance.now();
        continue;
      }
      const missing = await behind(bus);
      const isQuiet = subscription.assignment().length > 0 && performance.now() - lastMessageAt > QUIET_MS;
      if (missing === 0 || (missing !== null && isQuiet)) {
        await letters.forgetOld(Date.now());
        return missing;
      }
    }
  } finally {
    await subscription.close();
  }
  throw new TrainyardError(
    'ServiceUnavailable',
    `${TOPIC} could not be read to its end within ${READ_WITHIN_MS / 1_000} s; does another dlq command hang?`,
  );
}

/** Letters between the group's position and the end; null until the group has a position. */
async function behind(bus: Bus): Promise<number | null> {
  const rows = (await bus.lag(GROUP)).filter(({ topic }) => topic === TOPIC);
  if (rows.length === 0) return null;
  return rows.reduce((sum, { nextOffset, endOffset }) => sum + Math.max(0, endOffset - nextOffset), 0);
}

async function store(
  { codec, letters }: { readonly codec: Codec; readonly letters: Letters },
  messages: readonly ReceivedMessage[],
): Promise<void> {
  await codec.prepare(messages.map(({ value }) => value));
  for (const received of messages) {
    const decoded = decodeMessage(codec, received);
    if (decoded.ok && decoded.message.type === 'DeadLetter') {
      await letters.add(decoded.message.id, decoded.message.payload);
      continue;
    }
    // What is no letter (of a newer release, or put there by hand) is kept as one about itself: nothing is passed over.
    const refusal = decoded.ok ? { code: 'UndecodableMessage', reason: 'it is no dead letter' } : decoded;
    await letters.add(
      `dlq:command:${received.topic}/${received.partition}/${received.offset}`,
      aboutItself(received, refusal),
    );
  }
}

const aboutItself = (received: ReceivedMessage, { code, reason }: { code: string; reason: string }): DeadLetter => ({
  topic: received.topic,
  partition: received.partition,
  offset: received.offset,
  key: received.key,
  headers: { ...received.headers },
  value: Buffer.from(received.value),
  code,
  reason: `a message in the dead letters: ${reason}`,
  consumer: GROUP,
  atMs: Date.now(),
});
