import { mulberry32 } from '#lib/kernel/random.ts';
import { tinyJob } from '../support/e2e/tiny-jobs.ts';
import { SCENARIO, type Scenario } from '../support/fixtures/trainers/scenarios.ts';

/** How a job of the load must end. `CANCELLED`: somebody cancels it on the way; one that had ended before that is `COMPLETED`. */
export type ExpectedEnd = 'COMPLETED' | 'FAILED' | 'CANCELLED';

export interface ChaosJob {
  readonly number: number;
  /** Idempotency key. */
  readonly key: string;
  readonly model: string;
  /** By which door it comes in: REST, or a record on `jobs.requests`. */
  readonly door: 'rest' | 'record';
  /** The request is made twice, as a caller does that got no answer. */
  readonly twice: boolean;
  readonly scenario: Scenario;
  readonly expected: ExpectedEnd;
  /** After its acceptance, ms; null: nobody cancels it. */
  readonly cancelAfterMs: number | null;
  /** Body of `POST /v1/jobs` without the project. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** Models share their registry entries between jobs, so that numbering of versions is contended. */
const MODELS = 6;

/**
 * Job number `number` of the load with this seed. Most train for 1 to 3 s with checkpoints on the way; the others fail once and succeed, are killed
 * once and succeed, fail for good, or are cancelled.
 */
export function chaosJob(seed: number, number: number): ChaosJob {
  const random = mulberry32(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));
  // The first values of neighbouring streams are alike.
  for (let skip = 0; skip < 4; skip++) random.next();
  const { scenario, expected } = drawScenario(random.next());
  const cancelAfterMs = expected === 'CANCELLED' ? Math.round(random.next() * 4_000) : null;
  const key = `chaos-${seed}-${number}`;
  const model = `model-${1 + Math.floor(random.next() * MODELS)}`;
  const steps = 20 + Math.floor(random.next() * 40);
  const preprocessing = { vocabularySize: 300, validationFraction: 0.2, seed: 1 + Math.floor(random.next() * 4) };
  return {
    number,
    key,
    model,
    door: random.next() < 0.3 ? 'record' : 'rest',
    twice: random.next() < 0.2,
    scenario,
    expected,
    cancelAfterMs,
    body: tinyJob({
      key,
      model,
      seed: SCENARIO[scenario],
      steps,
      checkpointEverySteps: 5,
      spec: { preprocessing },
    }),
  };
}

function drawScenario(drawn: number): Pick<ChaosJob, 'scenario' | 'expected'> {
  if (drawn < 0.74) return { scenario: 'paced', expected: 'COMPLETED' };
  if (drawn < 0.82) return { scenario: 'quick', expected: 'COMPLETED' };
  if (drawn < 0.87) return { scenario: 'failsFirst', expected: 'COMPLETED' };
  if (drawn < 0.91) return { scenario: 'killedFirst', expected: 'COMPLETED' };
  if (drawn < 0.95) return { scenario: 'badData', expected: 'FAILED' };
  return { scenario: 'paced', expected: 'CANCELLED' };
}

/** A trainer that fails by script has one retry less to give: nobody else may kill it. */
export const mayLoseTrainer = ({ scenario, expected }: ChaosJob): boolean =>
  scenario === 'paced' && expected !== 'FAILED';
