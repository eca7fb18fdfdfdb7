/**
 * Generalised advantage estimation (Schulman et al. 2016) over one response: `rewards[t]` came after token `t`, `values[t]` was the
 * estimate before it; after the last token nothing is to come. `returns` are what the value head should have said.
 */
export function generalisedAdvantages(
  rewards: ArrayLike<number>,
  values: ArrayLike<number>,
  { gamma, lam }: { gamma: number; lam: number },
): { advantages: Float64Array; returns: Float64Array } {
  const count = rewards.length;
  const advantages = new Float64Array(count);
  let following = 0;
  for (let t = count - 1; t >= 0; t -= 1) {
    const next = t + 1 < count ? (values[t + 1] ?? 0) : 0;
    const surprise = (rewards[t] ?? 0) + gamma * next - (values[t] ?? 0);
    following = surprise + gamma * lam * following;
    advantages[t] = following;
  }
  return { advantages, returns: advantages.map((advantage, t) => advantage + (values[t] ?? 0)) };
}

/** Keeps a vanishing spread from blowing up rounding errors; TRL's value. */
const WHITENING_EPSILON = 1e-8;

/** Shifts and scales the entries where `mask` is 1 to mean 0 and variance 1, in place; fewer than two entries stay as they are. */
export function whiten(values: Float32Array, mask: Float32Array): void {
  const counted = values.filter((_, at) => mask[at] === 1);
  if (counted.length < 2) return;
  const mean = counted.reduce((sum, value) => sum + value, 0) / counted.length;
  const variance = counted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (counted.length - 1);
  const factor = 1 / Math.sqrt(variance + WHITENING_EPSILON);
  for (let at = 0; at < values.length; at += 1) {
    if (mask[at] === 1) values[at] = ((values[at] ?? 0) - mean) * factor;
  }
}
