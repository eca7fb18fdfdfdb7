/**
 * Kafka's murmur2 over the UTF-8 bytes of a key (org.apache.kafka.common.utils.Utils.murmur2), so that records which other
 * producers write with Kafka's default partitioner land where ours do. Returns a non-negative 31-bit integer.
 */
export function murmur2(key: string): number {
  const data = new TextEncoder().encode(key);
  const length = data.length;
  const m = 0x5bd1e995;
  let h = (0x9747b28c ^ length) | 0;
  const at = (i: number): number => data[i] ?? 0;
  for (let i = 0; i + 4 <= length; i += 4) {
    let k = at(i) | (at(i + 1) << 8) | (at(i + 2) << 16) | (at(i + 3) << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    k = Math.imul(k, m);
    h = Math.imul(h, m) ^ k;
  }
  const tail = length & ~3;
  const rest = length & 3;
  if (rest >= 3) h ^= at(tail + 2) << 16;
  if (rest >= 2) h ^= at(tail + 1) << 8;
  if (rest >= 1) h = Math.imul(h ^ at(tail), m);
  h ^= h >>> 13;
  h = Math.imul(h, m);
  h ^= h >>> 15;
  return h & 0x7fffffff;
}

/** The partition of a key: `murmur2(key) mod partitions`. */
export const partitionOf = (key: string, partitions: number): number => murmur2(key) % partitions;
