import { mulberry32, type RandomStream } from '../kernel/random.ts';
import { checkedOrder, type Configuration, constraintsHold, inSpaceOrder, isActive } from './configuration.ts';
import { drawValue } from './parameter-values.ts';
import type { Choice, SearchSpace } from './search-space.ts';

/** Draws until the constraints hold. A space that passed `checkSearchSpace` fails this with a chance far below one in a million. */
const MAX_DRAWS = 10_000;

/** A configuration drawn uniformly over the space, by rejection where there are constraints; null when none was found. */
export function drawConfiguration(space: SearchSpace, random: RandomStream): Configuration | null {
  const order = checkedOrder(space);
  for (let draw = 0; draw < MAX_DRAWS; draw++) {
    const values = new Map<string, Choice>();
    for (const parameter of order)
      if (isActive(parameter, Object.fromEntries(values))) values.set(parameter.name, drawValue(parameter, random));
    const configuration = inSpaceOrder(space, values);
    if (constraintsHold(space, configuration)) return configuration;
  }
  return null;
}

/** The random stream of one trial: neighbouring seeds and trial numbers give unrelated streams (finaliser of MurmurHash3). */
export function trialStream(seed: number, trialNumber: number): RandomStream {
  return mulberry32(mix(mix(seed >>> 0) ^ Math.imul(trialNumber + 1, 0x9e3779b1)));
}

function mix(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
