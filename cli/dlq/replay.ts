import type { Bus } from '#lib/bus/port.ts';
import { isWhole } from '#lib/contracts/envelope.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Letters, StoredLetter } from './letters.ts';

/**
 * Publishes the message of an open letter again: same topic, partition, key, headers and bytes, thus the same ce_id, so that whoever has processed it
 * meanwhile drops it. It is published before the letter is settled: a command that dies in between leaves it open, and a second replay is again
 * the same message. Throws `NotFound`, and `StateConflict` for a letter that is settled or cannot be sent again.
 */
export async function replayLetter(
  desk: { readonly bus: Bus; readonly letters: Letters },
  id: number,
  by: string,
): Promise<StoredLetter> {
  let replayed: StoredLetter | undefined;
  await desk.letters.settle(id, { state: 'replayed', by, reason: null }, async (stored) => {
    const { topic, partition, key, headers, value } = stored.letter;
    const obstacle = whyNot(stored);
    if (obstacle !== null)
      throw new TrainyardError('StateConflict', `dead letter ${id} cannot be replayed: ${obstacle}`);
    await desk.bus.publish([{ topic, partition, key: key ?? '', headers, value }]);
    replayed = stored;
  });
  if (replayed === undefined) throw new Error('a letter that was settled was read');
  return replayed;
}

function whyNot({ letter }: StoredLetter): string | null {
  if (!isWhole(letter))
    return 'its message was too large, and only the beginning was kept; let the producer send it again, smaller';
  if (letter.key === null) return 'its message has no key, and no consumer takes one without; correct the producer';
  return null;
}
