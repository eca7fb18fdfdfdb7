/** Figures as a person reads them; English, without locale, so that every machine prints the same. */

/** `0:05`, `12:34`, `1:02:03`; negative times are 0. */
export function clock(ms: number): string {
  const total = Math.max(0, Math.round(ms / 1_000));
  const [hours, minutes, seconds] = [Math.floor(total / 3_600), Math.floor(total / 60) % 60, total % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** `0.04 s`, `2.5 s`, `43 s`. */
export function seconds(value: number): string {
  if (value < 0.995) return `${value.toFixed(2)} s`;
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} s`;
}

/** An integer with thousands separators: `681,544`. */
export function count(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** Two to three significant digits with a unit: `950`, `4.2k`, `45k`, `1.2M`. */
export function compact(value: number): string {
  for (const [unit, size] of [
    ['M', 1e6],
    ['k', 1e3],
  ] as const) {
    if (value < size * 0.9995) continue;
    const scaled = value / size;
    return `${scaled < 9.95 ? scaled.toFixed(1) : scaled.toFixed(0)}${unit}`;
  }
  return value.toFixed(0);
}

/** Bits per byte, three decimals; with a sign when it is a difference. */
export const bitsPerByte = (value: number): string => value.toFixed(3);
export const signed = (value: number): string => `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(3)}`;
