/** A random stream as a value: `next()` is uniform in [0, 1), `state` is one unsigned 32-bit integer that restores it. */
export interface RandomStream {
  next(): number;
  state(): number;
}

/** mulberry32 (Tommy Ettinger, public domain): deterministic by seed, period 2^32; not for secrets. */
export function mulberry32(seed: number): RandomStream {
  let a = seed >>> 0;
  return {
    next() {
      a = (a + 0x6d2b79f5) >>> 0;
      let t = a;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
    },
    state: () => a,
  };
}
