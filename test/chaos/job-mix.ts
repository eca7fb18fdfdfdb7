import type { JobStatus } from '#lib/contracts/jobs.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { type TinyJob, tinyJob } from '../support/e2e/tiny-jobs.ts';
import { tinyAlignment, tinyEvaluation, tinyRetrain, tinySearch } from '../support/e2e/tiny-workflows.ts';
import { SCENARIO, type Scenario } from '../support/fixtures/trainers/scenarios.ts';

/** How a job of the load must end. `CANCELLED`: somebody cancels it on the way; one that had ended before that is `COMPLETED`. */
export type ExpectedEnd = 'COMPLETED' | 'FAILED' | 'SAFETY_FAILED' | 'CANCELLED';

export type ChaosJobType = 'fine_tune' | 'hpo' | 'eval_only' | 'rlhf' | 'retrain';

export interface ChaosJob {
  readonly number: number;
  readonly type: ChaosJobType;
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

/** The model that evaluations judge and alignments start from; it has a version before the load begins. */
export const JUDGED = 'judged';
/** The model that retrains replace; it has a version in prod before the load begins. */
export const SERVED = 'served';
/** The model that alignments make. */
const ALIGNED = 'aligned';

/** Models share their registry entries between jobs, so that numbering of versions is contended. */
const MODELS = 6;

/**
 * Job number `number` of the load with this seed. Most train for 1 to 3 s with checkpoints on the way; the others fail once and succeed, are killed
 * once and succeed, fail for good, or are cancelled. One in twelve is a search, whose trials are jobs of their own, one in twelve an evaluation, one in
 * sixteen an alignment, which the safety gate may stop, and one in sixteen a retrain, which takes prod from the version before.
 */
export function chaosJob(seed: number, number: number): ChaosJob {
  const random = mulberry32(Math.imul(seed, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));
  // The first values of neighbouring streams are alike.
  for (let skip = 0; skip < 4; skip++) random.next();
  const type = drawType(random.next());
  const { scenario, expected } = drawScenario(random.next(), type);
  const cancelAfterMs = expected === 'CANCELLED' ? Math.round(random.next() * 4_000) : null;
  const key = `chaos-${seed}-${number}`;
  const model = `model-${1 + Math.floor(random.next() * MODELS)}`;
  const steps = 20 + Math.floor(random.next() * 40);
  const preprocessing = { vocabularySize: 300, validationFraction: 0.2, seed: 1 + Math.floor(random.next() * 4) };
  return {
    number,
    type,
    key,
    model,
    door: random.next() < 0.3 ? 'record' : 'rest',
    twice: random.next() < 0.2,
    scenario,
    expected,
    cancelAfterMs,
    body: bodyOf(type, expected, {
      key,
      model,
      seed: SCENARIO[scenario],
      steps,
      checkpointEverySteps: 5,
      spec: { preprocessing },
    }),
  };
}

/** A second each. */
const TRIAL_STEPS = 20;

function bodyOf(type: ChaosJobType, expected: ExpectedEnd, job: TinyJob & { seed: number }): ChaosJob['body'] {
  switch (type) {
    case 'fine_tune':
      return tinyJob(job);
    case 'hpo':
      return tinySearch({ ...job, steps: TRIAL_STEPS }, 4);
    case 'eval_only':
      return tinyEvaluation(job.key, `${JUDGED}@dev`, []);
    case 'rlhf': {
      const isSafe = expected !== 'SAFETY_FAILED';
      return tinyAlignment({ key: job.key, seed: job.seed, base: `${JUDGED}/1`, model: ALIGNED, isSafe });
    }
    case 'retrain':
      return tinyRetrain({ key: job.key, seed: job.seed, model: SERVED, stormHours: 0, approvals: 0 });
  }
}

/** Whether the job may end with this status: as expected, or because something that others did came first. */
export function mayEnd({ type, expected }: ChaosJob, status: JobStatus): boolean {
  if (status === expected) return true;
  // It had ended before somebody cancelled it.
  if (expected === 'CANCELLED' && status === 'COMPLETED') return true;
  // Another retrain took prod meanwhile: this one was compared with a version that is there no more.
  return type === 'retrain' && status === 'REJECTED';
}

function drawType(drawn: number): ChaosJobType {
  if (drawn < 1 / 12) return 'hpo';
  if (drawn < 2 / 12) return 'eval_only';
  if (drawn < 2 / 12 + 1 / 16) return 'rlhf';
  return drawn < 2 / 12 + 2 / 16 ? 'retrain' : 'fine_tune';
}

function drawScenario(drawn: number, type: ChaosJobType): Pick<ChaosJob, 'scenario' | 'expected'> {
  if (type === 'rlhf' && drawn < 0.4) return { scenario: 'paced', expected: 'SAFETY_FAILED' };
  // Four trials that each fail as they like say nothing about the search.
  if (type !== 'fine_tune') return { scenario: 'paced', expected: drawn < 0.9 ? 'COMPLETED' : 'CANCELLED' };
  if (drawn < 0.74) return { scenario: 'paced', expected: 'COMPLETED' };
  if (drawn < 0.82) return { scenario: 'quick', expected: 'COMPLETED' };
  if (drawn < 0.87) return { scenario: 'failsFirst', expected: 'COMPLETED' };
  if (drawn < 0.91) return { scenario: 'killedFirst', expected: 'COMPLETED' };
  if (drawn < 0.95) return { scenario: 'badData', expected: 'FAILED' };
  return { scenario: 'paced', expected: 'CANCELLED' };
}

/** A trainer that fails by script has one retry less to give: nobody else may kill it. That of a trial is a job of its own, and not in the load. */
export const mayLoseTrainer = ({ type, scenario, expected }: ChaosJob): boolean =>
  type === 'fine_tune' && scenario === 'paced' && expected !== 'FAILED';
