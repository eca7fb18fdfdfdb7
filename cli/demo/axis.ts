/** A linear axis: where its ticks are, as the terminal and the SVG chart draw them. */
export interface Axis {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
}

/** Steps a person can read: 1, 2 or 5 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = rough / power;
  return (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10) * power;
}

/** An axis from `min` to `max`, widened to whole ticks; about `wanted` ticks. Equal ends get some room. */
export function axisOver(min: number, max: number, wanted: number): Axis {
  const span = max > min ? max - min : Math.max(1, Math.abs(min));
  const step = niceStep(span / Math.max(1, wanted));
  const first = Math.floor(min / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(max / step - 1e-9));
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  return { min: ticks[0] ?? min, max: ticks.at(-1) ?? max, ticks };
}

/** The same without widening: the axis ends where the data ends. */
export function axisWithin(min: number, max: number, wanted: number): Axis {
  const { ticks } = axisOver(min, max, wanted);
  return { min, max: max > min ? max : min + 1, ticks: ticks.filter((tick) => tick >= min && tick <= max) };
}

/** Position of a value on the axis, 0 to 1. */
export const along = (axis: Axis, value: number): number => (value - axis.min) / (axis.max - axis.min);

/** A tick's text: thousands as `2k`, decimals only where they differ. */
export function tickText(value: number, axis: Axis): string {
  const step = (axis.ticks[1] ?? axis.max) - (axis.ticks[0] ?? axis.min);
  if (Math.abs(value) >= 1_000) return `${Number((value / 1_000).toFixed(1))}k`;
  return value.toFixed(step < 0.095 ? 2 : step < 0.95 ? 1 : 0);
}
