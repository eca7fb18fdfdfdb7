import type { RandomStream } from '#lib/kernel/random.ts';

/** A draw from N(0, 1) (Box-Muller); takes two numbers of the stream. */
export function normal(random: RandomStream): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random.next()));
  return radius * Math.cos(2 * Math.PI * random.next());
}

/** What random numbers are drawn for. Each has a stream of its own; a number here never changes its meaning. */
export const PURPOSE = {
  epoch: 1,
  weights: 2,
  adapter: 3,
  dropout: 4,
  data: 5,
  sampling: 6,
  rollout: 7,
  miniBatches: 8,
  validation: 9,
} as const;

/** A seed for an independent purpose: equal inputs give equal seeds, different purposes unrelated streams. */
export function derivedSeed(seed: number, purpose: number): number {
  let h = (seed ^ Math.imul(purpose + 1, 0x9e3779b1)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Fisher-Yates: `0 .. count - 1` in random order. */
export function permutation(count: number, random: RandomStream): Int32Array {
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index -= 1) {
    const other = Math.floor(random.next() * (index + 1));
    const kept = order[index] ?? 0;
    order[index] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}
