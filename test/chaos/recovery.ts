import type { Strike } from './inject.ts';
import type { MeasuredFact } from './log-facts.ts';
import type { Sample, Watched } from './watch.ts';

/** What is looked at to find when things went on after a fault. */
export interface Evidence {
  /** In order of time. */
  readonly facts: readonly MeasuredFact[];
  readonly watched: Pick<Watched, 'answers' | 'observations'>;
}

/**
 * Milliseconds from the fault until what it struck made progress again, as seen from the outside; null when that was not seen within a minute.
 *
 * - gateway: the first request that was made after the fault and answered;
 * - orchestrator, PostgreSQL, Kafka: until every training that was under way is heard of again. That takes a moment without any fault too;
 * - a worker: the first attempt that it began after the fault and reported;
 * - a training program: the first fact of its activity that is not about its end;
 * - drift monitor: the first observation stored after the fault;
 * - S3, MLflow: the first `upload_artifacts` that began after the fault and completed; schema registry: the first attempt at all.
 */
export function recoveryMs({ fault, beganAtMs, what, attempt }: Strike, evidence: Evidence): number | null {
  const { facts, watched } = evidence;
  switch (fault.target) {
    case 'gateway':
      return after(beganAtMs, watched.answers.find(({ fromMs, value }) => fromMs >= beganAtMs && value === 1)?.atMs);
    case 'drift-monitor':
      return after(beganAtMs, growth(watched.observations, beganAtMs));
    case 'orchestrator':
    case 'postgres':
    case 'kafka':
      return everyTraining(facts, beganAtMs);
    case 'cpu-worker':
    case 'gpu-worker':
      return first(facts, beganAtMs, ({ workerId, startedAtMs }) => workerId === what && begun(startedAtMs, beganAtMs));
    case 'trainer':
      return first(
        facts,
        beganAtMs,
        ({ jobId, activityId, type }) =>
          jobId === attempt?.jobId && activityId === attempt.activityId && !ENDS.includes(type),
      );
    case 's3':
    case 'mlflow':
      return first(
        facts,
        beganAtMs,
        ({ type, activityId, startedAtMs }) =>
          type === 'ActivityCompleted' && activityId === 'upload_artifacts' && begun(startedAtMs, beganAtMs),
      );
    case 'schema-registry':
      return first(facts, beganAtMs, ({ startedAtMs }) => begun(startedAtMs, beganAtMs));
  }
}

const ENDS = ['ActivityFailed', 'LeaseEnded', 'LateMessageIgnored'];

/** What did not come within this time belongs to something else. */
const WITHIN_MS = 60_000;
/** Messages that the orchestrator had read already are still decided when the broker is gone. */
const IN_HAND_MS = 250;
/** A training that was not heard of for so long before the moment had lost its worker before. */
const HEARD_MS = 1_500;

/**
 * The longest wait for the next fact among the workflows that were training at this moment; null when there was none. A training saves a checkpoint
 * every 0.25 s, which is a fact, and its end is one too.
 */
export function everyTraining(facts: readonly MeasuredFact[], momentMs: number): number | null {
  const training = new Map<string, number>();
  const next = new Map<string, number>();
  for (const { workflowId, activityId, type, atMs } of facts) {
    if (type === 'LateMessageIgnored') continue;
    if (atMs > momentMs + WITHIN_MS) break;
    // The orchestrator's own word, which it can give while nobody is heard of.
    if (type === 'LeaseEnded' && atMs > momentMs) continue;
    if (atMs > momentMs + IN_HAND_MS) {
      if (training.has(workflowId) && !next.has(workflowId)) next.set(workflowId, atMs);
    } else if (atMs <= momentMs) {
      const trains = activityId === 'run_training' && (type === 'ActivityStarted' || type === 'CheckpointSaved');
      if (trains) training.set(workflowId, atMs);
      else training.delete(workflowId);
    }
  }
  const waits = [...training].flatMap(([workflowId, heardAtMs]) => {
    const atMs = next.get(workflowId);
    return heardAtMs < momentMs - HEARD_MS || atMs === undefined ? [] : [atMs - momentMs];
  });
  return waits.length === 0 ? null : Math.max(...waits);
}

function first(facts: readonly MeasuredFact[], momentMs: number, isIt: (fact: MeasuredFact) => boolean): number | null {
  return after(momentMs, facts.find((fact) => fact.atMs >= momentMs && isIt(fact))?.atMs);
}

const begun = (startedAtMs: number | null, momentMs: number): boolean =>
  startedAtMs !== null && startedAtMs >= momentMs;

/** When a count was first seen larger than at the first look that began after the moment. */
function growth(samples: readonly Sample[], momentMs: number): number | undefined {
  const later = samples.filter(({ fromMs }) => fromMs >= momentMs);
  const [base] = later;
  return base === undefined ? undefined : later.find(({ value }) => value > base.value)?.atMs;
}

const after = (momentMs: number, atMs: number | undefined): number | null =>
  atMs === undefined || atMs - momentMs > WITHIN_MS ? null : atMs - momentMs;

/** The value below which the share of the values lies (nearest rank); null for none. */
export function percentile(values: readonly number[], share: number): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null;
}
