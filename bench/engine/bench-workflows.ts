import { PROFILES, workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import { workflow } from '../../services/orchestrator/domain/workflows/vocabulary.ts';
import { threeSteps } from '../../test/support/three-steps.ts';

/** Longer than the starts of the timer benchmark take, so that starting and firing do not overlap. */
export const WAIT_SECONDS = 25;

/** Waits for one timer and ends. */
const oneWait = workflow<unknown>('one_wait@1', ({ waits, ends }) => ({
  initial: 'waiting',
  states: {
    waiting: waits({ timer: 'alarm', for: `${WAIT_SECONDS}s`, onFired: 'completed' }),
    completed: ends('COMPLETED'),
  },
}));

const profile = {
  retry: { maxAttempts: 3, backoff: 2, initialIntervalMs: 20, maxIntervalMs: 1_000 },
  executionTimeoutMs: 3_600_000,
};

/** The shipped registry with the workflows of the benchmarks. */
export const benchRegistry = () =>
  workflowRegistry(
    { ...PROFILES, three_steps: { ...profile, current: threeSteps.id }, one_wait: { ...profile, current: oneWait.id } },
    [threeSteps, oneWait],
  );
