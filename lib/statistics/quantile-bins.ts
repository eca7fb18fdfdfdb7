import { invariant } from '#lib/kernel/errors.ts';

/**
 * Inner edges of at most `bins` bins with about the same number of the **sorted ascending** values each. A bin reaches from above one edge up to and including the
 * next. Values that repeat share a bin, so there can be fewer edges than `bins` - 1, down to none for a constant. Strictly ascending.
 */
export function quantileEdges(sorted: Float64Array, bins: number): Float64Array {
  invariant(
    sorted.length > 0 && Number.isInteger(bins) && bins >= 1,
    'quantile bins need values and a whole number of bins',
  );
  const edges: number[] = [];
  const largest = sorted[sorted.length - 1] as number;
  for (let i = 1; i < bins; i++) {
    const edge = sorted[Math.ceil((i * sorted.length) / bins) - 1] as number;
    // An edge at the largest value would leave an empty last bin.
    if (edge < largest && edge > (edges.at(-1) ?? -Infinity)) edges.push(edge);
  }
  return Float64Array.from(edges);
}

/** Which bin a value falls into, 0 .. edges.length; binary search, no allocation. */
export function binOf(edges: Float64Array, value: number): number {
  let low = 0;
  let high = edges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((edges[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
