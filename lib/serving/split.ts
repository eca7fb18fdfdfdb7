import { createHmac } from 'node:crypto';
import { murmur2 } from '#lib/kernel/partition.ts';

/** What decides about the requests of one model: the version in prod, and the canary beside it while a split is open. */
export interface ModelTraffic {
  /** Null: nothing is in prod. */
  readonly prodVersion: number | null;
  readonly split: TrafficShare | null;
}

export interface TrafficShare {
  readonly jobId: string;
  readonly canaryVersion: number;
  readonly baselineVersion: number;
  /** Percent of the keys that go to the canary, 0 to 100. */
  readonly weightPercent: number;
}

/** An open split as those know it who deal by it. */
export interface OpenSplit extends TrafficShare {
  /** Never leaves the platform: the observations' units are made with it. */
  readonly unitSecret: string;
}

/** The same with a split's secret. */
export interface OpenTraffic extends ModelTraffic {
  readonly split: OpenSplit | null;
}

export type Arm = 'canary' | 'baseline' | 'prod';

export interface Route {
  readonly version: number;
  readonly arm: Arm;
}

/** Values of `murmur2`: 31 bits. */
const HASH_RANGE = 2 ** 31;

/**
 * The version that answers a request; null when the model has none to answer. The same key goes to the same version as long as the split is open, in
 * every process; another split (another job) deals anew, so that nobody is in every canary. Within 0.5 % of the weight over 100,000 keys.
 */
export function routeRequest(project: string, model: string, traffic: ModelTraffic, key: string): Route | null {
  const { split, prodVersion } = traffic;
  if (split === null) return prodVersion === null ? null : { version: prodVersion, arm: 'prod' };
  if (isCanary(project, model, split, key)) return { version: split.canaryVersion, arm: 'canary' };
  // What is in prod answers, whatever a split says that somebody still knows: its answers belong to no arm.
  if (prodVersion !== null && prodVersion !== split.baselineVersion) return { version: prodVersion, arm: 'prod' };
  return { version: split.baselineVersion, arm: 'baseline' };
}

/** Hexadecimal digits, 128 bits: no two users of a canary have the same by chance. */
const UNIT_DIGITS = 32;

/**
 * Whom an answer counts for in a canary: HMAC-SHA256 of the routing key under the split's secret. The key may be a name or an address; of it nothing
 * leaves but this, which says "the same user" within one canary and nothing outside it. Who may ask for completions can find out the unit of a key
 * while the canary is open.
 */
export const unitOf = ({ unitSecret }: OpenSplit, key: string): string =>
  createHmac('sha256', unitSecret).update(key).digest('hex').slice(0, UNIT_DIGITS);

function isCanary(project: string, model: string, split: TrafficShare, key: string): boolean {
  // A line break is in no name, so that no two pairs of names and key make the same text.
  const hash = murmur2(`${project}\n${model}\n${split.jobId}\n${key}`);
  return hash < (split.weightPercent / 100) * HASH_RANGE;
}
