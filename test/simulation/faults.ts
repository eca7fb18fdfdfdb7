import type { SimRandom } from './sim-random.ts';

/** Everything that is made to go wrong, by the name under which it is counted. */
export const FAULT_KINDS = [
  // Processes
  'crash',
  'crash at commit',
  'crash after commit took effect',
  'orderly stop',
  'freeze',
  'freeze beyond session',
  'clock jump forward',
  'clock jump back',
  'orchestrator joins',
  'orchestrator leaves',
  // Network
  'slow request',
  'slow answer',
  'very slow request',
  'request lost',
  'answer lost',
  'cut off',
  'notification lost',
  'peer notification lost',
  // Servers
  'server error',
  'outage of the database',
  'outage of the bus',
  'outage of the object store',
  'outage of the model registry',
  // Bus
  'duplicate publish',
  'split publish',
  // Activities and people
  'retryable failure',
  'non-retryable failure',
  'hang',
  'hang that ignores its end',
  'checkpoint damaged',
  'cancel request',
  'repeated submit',
  'pause request',
  'resume request',
  'retry request',
  'cancel request for a child',
  'vote twice',
  'late vote',
  'vote of the submitter',
  'vote about something else',
  'canary verdict twice',
  'late canary verdict',
  'canary verdict never comes',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How often faults strike in one run; every rate comes from the seed, and may be 0, so that runs differ in kind. */
export interface FaultRates {
  /** Per call over the network. */
  readonly slow: number;
  readonly verySlow: number;
  readonly requestLost: number;
  readonly answerLost: number;
  readonly serverError: number;
  readonly crashAtCommit: number;
  readonly notificationLost: number;
  /** Per publish. */
  readonly duplicatePublish: number;
  readonly splitPublish: number;
  /** Mean time between two faults of processes and servers, ms. */
  readonly chaosEveryMs: number;
  /** Per attempt. */
  readonly attemptFails: number;
  readonly attemptFailsForGood: number;
  readonly attemptHangs: number;
  readonly checkpointDamaged: number;
}

/** Half of the kinds are quiet in a run, the others strike at a rate between a tenth of the bound and the bound. */
export function ratesFrom(random: SimRandom): FaultRates {
  const rate = (bound: number): number => (random.chance(0.4) ? 0 : bound * (0.1 + 0.9 * random.next()));
  return {
    slow: rate(0.15),
    verySlow: rate(0.01),
    requestLost: rate(0.03),
    answerLost: rate(0.03),
    serverError: rate(0.03),
    crashAtCommit: rate(0.01),
    notificationLost: rate(0.3),
    duplicatePublish: rate(0.15),
    splitPublish: rate(0.3),
    chaosEveryMs: random.pick([250, 500, 1_000, 2_000]),
    attemptFails: rate(0.2),
    attemptFailsForGood: rate(0.02),
    attemptHangs: rate(0.1),
    checkpointDamaged: rate(0.2),
  };
}

export const NO_FAULTS: FaultRates = {
  slow: 0,
  verySlow: 0,
  requestLost: 0,
  answerLost: 0,
  serverError: 0,
  crashAtCommit: 0,
  notificationLost: 0,
  duplicatePublish: 0,
  splitPublish: 0,
  chaosEveryMs: Infinity,
  attemptFails: 0,
  attemptFailsForGood: 0,
  attemptHangs: 0,
  checkpointDamaged: 0,
};

/** The rates in force, and the count of what struck. */
export class Faults {
  readonly counts = new Map<FaultKind, number>();
  readonly #random: SimRandom;
  #rates: FaultRates;

  constructor(random: SimRandom, rates: FaultRates) {
    this.#random = random;
    this.#rates = rates;
  }

  get rates(): FaultRates {
    return this.#rates;
  }

  /** From here on nothing goes wrong any more: what is left must come to its end. */
  stop(): void {
    this.#rates = NO_FAULTS;
  }

  /** Draws whether a fault of this rate strikes now, and counts it. */
  strikes(rate: Exclude<keyof FaultRates, 'chaosEveryMs'>, kind: FaultKind): boolean {
    if (!this.#random.chance(this.#rates[rate])) return false;
    this.count(kind);
    return true;
  }

  count(kind: FaultKind): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }

  get total(): number {
    let total = 0;
    for (const count of this.counts.values()) total += count;
    return total;
  }
}
