import type { AnyStateMachine } from 'xstate';
import type { JobType } from '#lib/contracts/jobs.ts';
import type { RetryPolicy } from '../activity-ledger.ts';
import { duration } from '#lib/kernel/duration.ts';
import { type MachineRunner, machineRunner } from '../machine.ts';
import { evalOnly } from './eval-only.ts';
import { fineTune } from './fine-tune.ts';
import { hpo } from './hpo.ts';
import { retrain } from './retrain.ts';
import { rlhf } from './rlhf.ts';

/** How jobs of one type run: the seed's factory, one line a type. */
export interface WorkflowProfile {
  /** Machine version that new jobs start on; null = known, not available yet. */
  readonly current: string | null;
  readonly retry: RetryPolicy;
  readonly executionTimeoutMs: number;
}

export interface WorkflowRegistry {
  /** The profile of a job type; null for a type nobody knows. */
  profile(jobType: string): WorkflowProfile | null;
  /** The machine of a definition such as `fine_tune@1`; running workflows stay on the version they started on. */
  machine(definition: string): MachineRunner | null;
}

/** Waits grow from this; the ceiling keeps the last attempts of a long job within a shift. */
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 300_000;

const retry = (maxAttempts: number, backoff: number): RetryPolicy => ({
  maxAttempts,
  backoff,
  initialIntervalMs: FIRST_WAIT_MS,
  maxIntervalMs: LONGEST_WAIT_MS,
});

export const PROFILES: Readonly<Record<JobType, WorkflowProfile>> = {
  fine_tune: { current: 'fine_tune@1', retry: retry(3, 2), executionTimeoutMs: duration('48h') },
  hpo: { current: 'hpo@1', retry: retry(2, 2), executionTimeoutMs: duration('72h') },
  rlhf: { current: 'rlhf@1', retry: retry(2, 2), executionTimeoutMs: duration('96h') },
  retrain: { current: 'retrain@1', retry: retry(3, 2), executionTimeoutMs: duration('72h') },
  eval_only: { current: 'eval_only@1', retry: retry(3, 1.5), executionTimeoutMs: duration('4h') },
};

/** Every machine version ever shipped: a line is never removed while a workflow may still run on it. */
export const MACHINES: readonly AnyStateMachine[] = [fineTune, hpo, retrain, rlhf, evalOnly];

/** The factory. `overrides` change times for tests and the demo (the first wait, a timeout), never a flow. */
export function workflowRegistry(
  profiles: Readonly<Record<string, WorkflowProfile>> = PROFILES,
  machines: readonly AnyStateMachine[] = MACHINES,
): WorkflowRegistry {
  const byDefinition = new Map(machines.map((machine) => [machine.id, machineRunner(machine)]));
  return {
    profile: (jobType) => (Object.hasOwn(profiles, jobType) ? (profiles[jobType] ?? null) : null),
    machine: (definition) => byDefinition.get(definition) ?? null,
  };
}
