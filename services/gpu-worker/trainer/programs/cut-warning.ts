import type { PreferencePairs } from '../data/preference-pairs.ts';
import type { Send } from '../messages.ts';

/** Says how many pairs do not fit: a difference that lies in what was cut off is never seen. */
export function warnOfCuts(pairs: PreferencePairs, length: number, send: Send): void {
  if (pairs.cutCount === 0) return;
  const message = `${pairs.cutCount} of ${pairs.count} training pairs are cut to sequenceLength = ${length}`;
  send({ type: 'log', level: 'warn', message });
}
