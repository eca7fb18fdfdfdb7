/** log(sqrt(2 pi)). */
const LOG_SQRT_TWO_PI = 0.9189385332046728;
/** Below it the tail comes from its asymptotic series: erfc is close to the smallest numbers there. */
const TAIL = -20;
const NEWTON_STEPS = 100;
const NEWTON_TOLERANCE = 1e-8;

/** Cumulative distribution function of the standard normal. */
function normalCdf(x: number): number {
  return 0.5 * erfc(-x * Math.SQRT1_2);
}

export const logNormalDensity = (x: number): number => -0.5 * x * x - LOG_SQRT_TWO_PI;

/** log of `normalCdf`, accurate in the far left tail, where the function itself is 0. */
function logNormalCdf(x: number): number {
  if (x > 6) return -normalCdf(-x);
  if (x > TAIL) return Math.log(normalCdf(x));
  // Asymptotic expansion of Mills' ratio, Abramowitz and Stegun 26.2.12.
  const factor = 1 / (x * x);
  let series = 1;
  let term = 1;
  for (let i = 1; ; i++) {
    term *= -(2 * i - 1) * factor;
    const next = series + term;
    // Asked this way round, a NaN ends it, too.
    if (!(Math.abs(next - series) > Number.EPSILON)) break;
    series = next;
  }
  return -0.5 * x * x - Math.log(-x) - LOG_SQRT_TWO_PI + Math.log(series);
}

/**
 * log of the probability that a standard normal lies in [a, b], a <= b. Works in the left tail by symmetry: the difference of
 * two numbers close to 1 has no digits left.
 */
export function logNormalMass(a: number, b: number): number {
  if (b <= 0) return logDifference(logNormalCdf(b), logNormalCdf(a));
  if (a > 0) return logDifference(logNormalCdf(-a), logNormalCdf(-b));
  return Math.log1p(-normalCdf(a) - normalCdf(-b));
}

/** The x with `logNormalCdf(x) = y` for y < 0: Newton's method from an approximation of the tail or of the middle. */
function normalQuantileOfLog(y: number): number {
  // Close to 0 the digits lie in 1 - exp(y): solved for -x.
  const flipped = y > -1e-2;
  const z = flipped ? Math.log(-Math.expm1(y)) : y;
  let x = z < -5 ? -Math.sqrt(-2 * (z + LOG_SQRT_TWO_PI)) : -(Math.sqrt(3) / Math.PI) * Math.log(Math.expm1(-z));
  for (let i = 0; i < NEWTON_STEPS; i++) {
    const logCdf = logNormalCdf(x);
    const dx = (logCdf - z) * Math.exp(logCdf - logNormalDensity(x));
    x -= dx;
    if (Math.abs(dx) < NEWTON_TOLERANCE * Math.abs(x)) break;
  }
  return flipped ? -x : x;
}

/** The q-quantile of the standard normal that is cut off outside [a, b]. */
export function truncatedNormalQuantile(q: number, a: number, b: number): number {
  if (q <= 0) return a;
  if (q >= 1) return b;
  const mass = logNormalMass(a, b);
  const x =
    a < 0
      ? normalQuantileOfLog(logSum(logNormalCdf(a), Math.log(q) + mass))
      : -normalQuantileOfLog(logSum(logNormalCdf(-b), Math.log1p(-q) + mass));
  return Math.min(b, Math.max(a, x));
}

/** log(exp(a) + exp(b)). */
function logSum(a: number, b: number): number {
  const high = Math.max(a, b);
  return high === -Infinity ? high : high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

/** log(exp(a) - exp(b)) for a >= b. */
function logDifference(a: number, b: number): number {
  return a + Math.log1p(-Math.exp(b - a));
}

/**
 * Complementary error function, to about one unit in the last place: the rational approximations of FreeBSD's `s_erf.c`
 * (Copyright 1993 Sun Microsystems, freely usable with this notice).
 */
export function erfc(x: number): number {
  const size = Math.abs(x);
  if (size < 0.84375) {
    const z = x * x;
    const y = polynomial(PP, z) / polynomial(QQ, z);
    return x < 0.25 ? 1 - (x + x * y) : 0.5 - (x * y + (x - 0.5));
  }
  if (size < 1.25) {
    const s = size - 1;
    const ratio = polynomial(PA, s) / polynomial(QA, s);
    return x >= 0 ? 1 - ERX - ratio : 1 + (ERX + ratio);
  }
  if (size >= 28) return x > 0 ? 0 : 2;
  if (x < -6) return 2;
  const s = 1 / (x * x);
  const ratio = size < 1 / 0.35 ? polynomial(RA, s) / polynomial(SA, s) : polynomial(RB, s) / polynomial(SB, s);
  // exp(-x^2) in two factors: the square of a number with 24 bits is exact.
  const z = Math.fround(size);
  const r = (Math.exp(-z * z - 0.5625) * Math.exp((z - size) * (z + size) + ratio)) / size;
  return x > 0 ? r : 2 - r;
}

function polynomial(coefficients: readonly number[], x: number): number {
  let sum = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) sum = sum * x + (coefficients[i] as number);
  return sum;
}

const ERX = 0.8450629115104675;
const PP = [
  0.12837916709551256, -0.3250421072470015, -0.02848174957559851, -0.005770270296489442, -2.3763016656650163e-5,
];
const QQ = [
  1, 0.39791722395915535, 0.0650222499887673, 0.005081306281875766, 0.00013249473800432164, -3.960228278775368e-6,
];
const PA = [
  -0.0023621185607526594, 0.41485611868374833, -0.3722078760357013, 0.31834661990116175, -0.11089469428239668,
  0.035478304325618236, -0.002166375594868791,
];
const QA = [
  1, 0.10642088040084423, 0.540397917702171, 0.07182865441419627, 0.12617121980876164, 0.01363708391202905,
  0.011984499846799107,
];
const RA = [
  -0.009864944034847148, -0.6938585727071818, -10.558626225323291, -62.375332450326006, -162.39666946257347,
  -184.60509290671104, -81.2874355063066, -9.814329344169145,
];
const SA = [
  1, 19.651271667439257, 137.65775414351904, 434.56587747522923, 645.3872717332679, 429.00814002756783,
  108.63500554177944, 6.570249770319282, -0.0604244152148581,
];
const RB = [
  -0.0098649429247001, -0.799283237680523, -17.757954917754752, -160.63638485582192, -637.5664433683896,
  -1025.0951316110772, -483.5191916086514,
];
const SB = [
  1, 30.33806074348246, 325.7925129965739, 1536.729586084437, 3199.8582195085955, 2553.0504064331644,
  474.52854120695537, -22.44095244658582,
];
