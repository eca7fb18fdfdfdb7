/** Entries are scaled down above this size, with the power of ten kept apart. */
const RESCALE_AT = 1e140;
const RESCALE_BY = 1e-140;
const RESCALE_DIGITS = 140;

interface Scaled {
  readonly entries: Float64Array;
  /** The true matrix is `entries` times ten to this power. */
  readonly exponent: number;
}

/**
 * Exact P(D < d) of the one-sample Kolmogorov statistic of `n` values: n! / n^n times the central entry of the n-th power of a matrix of
 * size 2k - 1, k = ceil(n d) (Marsaglia, Tsang and Wang 2003, J. Stat. Softw. 8/18). O(k^3 log n) time, O(k^2) memory.
 */
export function marsagliaTsangWang(n: number, d: number): number {
  const k = Math.ceil(n * d);
  const size = 2 * k - 1;
  const power = matrixPower({ entries: stepMatrix(size, k - n * d), exponent: 0 }, n, size);
  let probability = power.entries[(k - 1) * size + k - 1] as number;
  let exponent = power.exponent;
  for (let i = 1; i <= n; i++) {
    probability = (probability * i) / n;
    if (probability < RESCALE_BY) {
      probability *= RESCALE_AT;
      exponent -= RESCALE_DIGITS;
    }
  }
  return probability * 10 ** exponent;
}

/** The matrix H of the paper, section 2; `h` = k - n d in [0, 1). */
function stepMatrix(size: number, h: number): Float64Array {
  const matrix = new Float64Array(size * size);
  const at = (row: number, column: number): number => row * size + column;
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) matrix[at(row, column)] = row - column + 1 < 0 ? 0 : 1;
  for (let i = 0; i < size; i++) {
    matrix[at(i, 0)] = (matrix[at(i, 0)] as number) - h ** (i + 1);
    matrix[at(size - 1, i)] = (matrix[at(size - 1, i)] as number) - h ** (size - i);
  }
  const corner = at(size - 1, 0);
  matrix[corner] = (matrix[corner] as number) + (2 * h - 1 > 0 ? (2 * h - 1) ** size : 0);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++)
      for (let g = 1; g <= row - column + 1; g++) matrix[at(row, column)] = (matrix[at(row, column)] as number) / g;
  return matrix;
}

function matrixPower(base: Scaled, power: number, size: number): Scaled {
  if (power === 1) return base;
  const half = matrixPower(base, Math.floor(power / 2), size);
  const square = rescaled(multiply(half.entries, half.entries, size), 2 * half.exponent, size);
  if (power % 2 === 0) return square;
  return rescaled(multiply(base.entries, square.entries, size), base.exponent + square.exponent, size);
}

function multiply(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const product = new Float64Array(size * size);
  for (let row = 0; row < size; row++)
    for (let inner = 0; inner < size; inner++) {
      const factor = a[row * size + inner] as number;
      if (factor === 0) continue;
      for (let column = 0; column < size; column++) {
        const at = row * size + column;
        product[at] = (product[at] as number) + factor * (b[inner * size + column] as number);
      }
    }
  return product;
}

function rescaled(entries: Float64Array, exponent: number, size: number): Scaled {
  const centre = entries[((size - 1) / 2) * size + (size - 1) / 2] as number;
  if (centre <= RESCALE_AT) return { entries, exponent };
  return { entries: entries.map((entry) => entry * RESCALE_BY), exponent: exponent + RESCALE_DIGITS };
}
