import type { OutgoingMessage, ReceivedMessage, Subscription } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { deadLetter, decodeMessage } from '#lib/contracts/envelope.ts';
import { acceptObservation, type Observation } from '../domain/observation.ts';

/** Writes observations and dead letters of one batch; idempotent, so that a batch may come again. */
export interface ObservationStore {
  /** How many were new. */
  save(observations: readonly Observation[], deadLetters: readonly OutgoingMessage[]): Promise<number>;
}

export interface IntakeCounts {
  stored: number;
  duplicates: number;
  refused: number;
}

const CONSUMER = 'drift-monitor';

/** One batch: what can be read is stored, what cannot goes to the dead letters, then the positions are committed. */
export async function takeIn(
  ports: {
    readonly codec: Codec;
    readonly store: ObservationStore;
    readonly subscription: Pick<Subscription, 'commit'>;
  },
  messages: readonly ReceivedMessage[],
  nowMs: number,
): Promise<IntakeCounts> {
  await ports.codec.prepare(messages.map((message) => message.value));
  const accepted: Observation[] = [];
  const letters: OutgoingMessage[] = [];
  for (const received of messages) {
    const decoded = decodeMessage(ports.codec, received);
    if (!decoded.ok) {
      letters.push(deadLetter(ports.codec, received, decoded, CONSUMER, nowMs));
      continue;
    }
    if (decoded.message.type !== 'ObservationRecorded') continue;
    const verdict = acceptObservation(decoded.message.payload, nowMs);
    if (verdict.ok) accepted.push(verdict.observation);
    else
      letters.push(
        deadLetter(ports.codec, received, { code: 'ValidationFailed', reason: verdict.reason }, CONSUMER, nowMs),
      );
  }
  const stored = await ports.store.save(accepted, letters);
  const ends = new Map(
    messages.map((m) => [m.partition, { topic: m.topic, partition: m.partition, nextOffset: m.offset + 1 }]),
  );
  await ports.subscription.commit([...ends.values()]);
  return { stored, duplicates: accepted.length - stored, refused: letters.length };
}
