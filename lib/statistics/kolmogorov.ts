import { invariant } from '#lib/kernel/errors.ts';
import { logGamma } from './gamma.ts';
import { marsagliaTsangWang } from './kolmogorov-matrix.ts';

/**
 * Probability that the one-sample Kolmogorov statistic of `n` values is at least `d` (continuous distribution). Chooses between
 * exact formulas and the Pelz-Good expansion as Simard and L'Ecuyer 2011 (J. Stat. Softw. 39/11, section 4) do: about 13 digits
 * for n <= 140, five and more above. `n` is a whole number >= 1, `d` in [0, 1].
 */
export function kolmogorovSurvival(n: number, d: number): number {
  invariant(Number.isInteger(n) && n >= 1, 'kolmogorovSurvival needs a whole n >= 1');
  if (d <= 0) return 1;
  if (d >= 1) return 0;
  const t = n * d;
  if (t <= 0.5) return 1;
  // Ruben and Gambino 1982: both ends in closed form.
  if (t <= 1) return clip(1 - Math.exp(logGamma(n + 1) + n * Math.log((2 * t - 1) / n)));
  if (t >= n - 1) return clip(2 * (1 - d) ** n);
  const square = t * d;
  if (square >= 370) return 0;
  if (d >= 0.5 || square > (n <= 140 ? 4 : 2.2)) return clip(2 * smirnovSurvival(n, d));
  if (n <= 140 || (n <= 100_000 && n * d ** 1.5 <= 1.4)) return clip(1 - marsagliaTsangWang(n, d));
  return clip(1 - pelzGood(n, d));
}

const clip = (p: number): number => Math.min(1, Math.max(0, p));

/** Exact one-sided survival, P(D+ >= d) (Smirnov 1944; Birnbaum and Tingey 1951); O(n). All terms are positive, summed from logarithms. */
function smirnovSurvival(n: number, d: number): number {
  const last = Math.floor(n * (1 - d));
  let logChoose = 0;
  // What rounding took from logChoose (Kahan): without it a million values cost half of the digits.
  let lost = 0;
  let sum = 0;
  for (let j = 0; j <= last; j++) {
    if (j > 0) {
      const term = Math.log((n - j + 1) / j) - lost;
      const next = logChoose + term;
      lost = next - logChoose - term;
      logChoose = next;
    }
    const above = 1 - d - j / n;
    if (above <= 0) continue;
    sum += Math.exp(logChoose + (j - 1) * Math.log(d + j / n) + (n - j) * Math.log(above));
  }
  return d * sum;
}

/**
 * P(D <= d) by Pelz and Good 1976 (J. R. Stat. Soc. B 38): K0(z) + K1(z) / n^(1/2) + K2(z) / n + K3(z) / n^(3/2), z = d n^(1/2), with
 * theta functions in the form that converges fast for small z.
 */
function pelzGood(n: number, d: number): number {
  const z = Math.sqrt(n) * d;
  const [z2, z4, z6, z8] = [z ** 2, z ** 4, z ** 6, z ** 8];
  const p2 = Math.PI ** 2;
  const q = Math.exp(-p2 / (8 * z2));
  const terms = Math.ceil((16 * z) / Math.PI);
  let [k0, k1, k2, k3] = [0, 0, 0, 0];
  for (let k = terms; k >= 1; k--) {
    const m2 = (2 * k - 1) ** 2;
    const weight = q ** m2;
    k0 += weight;
    k1 += weight * (-z2 + (p2 / 4) * m2);
    k2 += weight * (6 * z6 + 2 * z4 + (((2 * z4 - 5 * z2) * p2) / 4) * m2 + ((p2 ** 2 * (1 - 2 * z2)) / 16) * m2 ** 2);
    k3 +=
      weight *
      (-30 * z6 -
        90 * z8 +
        ((p2 * (135 * z4 - 96 * z6)) / 4) * m2 +
        ((p2 ** 2 * (-60 * z2 + 212 * z4)) / 16) * m2 ** 2 +
        ((p2 ** 3 * (5 - 30 * z2)) / 64) * m2 ** 3);
  }
  let [even2, even3] = [0, 0];
  const dual = Math.exp(-p2 / (2 * z2));
  for (let k = terms; k >= 1; k--) {
    const weight = k * k * dual ** (k * k);
    even2 += weight;
    even3 += weight * (3 * z2 - p2 * k * k);
  }
  const root = Math.sqrt(2 * Math.PI);
  return (
    (root * k0) / z +
    (root * k1) / (6 * z4) / Math.sqrt(n) +
    ((root * k2) / (72 * z ** 7) - (even2 * p2 * root) / (36 * z ** 3)) / n +
    ((root * k3) / (6480 * z ** 10) + (even3 * p2 * root) / (216 * z6)) / n ** 1.5
  );
}
