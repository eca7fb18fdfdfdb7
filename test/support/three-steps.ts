import type { ActivityName } from '#lib/contracts/activities.ts';
import { PROFILES, workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import { workflow } from '../../services/orchestrator/domain/workflows/vocabulary.ts';

const step = (name: string): ActivityName => name as ActivityName;

/** A flow of three trivial CPU-lane activities, for engine tests and benchmarks; never part of the shipped registry. */
export const threeSteps = workflow<{ value: number }>('three_steps@1', ({ runs, ends }) => {
  const one = (name: string, onDone: string) =>
    runs(step(name), {
      lane: 'cpu',
      startToClose: '1m',
      input: ({ input }) => ({ value: input?.value }) as never,
      onDone,
    });
  return {
    initial: 'first',
    states: {
      first: one('first', 'second'),
      second: one('second', 'third'),
      third: one('third', 'completed'),
      completed: ends('COMPLETED', ({ outputs }) => outputs),
    },
  };
});

/** The shipped profiles and machines, and `three_steps`. */
export const registryWithThreeSteps = (options: { initialIntervalMs?: number; executionTimeoutMs?: number } = {}) =>
  workflowRegistry(
    {
      ...PROFILES,
      three_steps: {
        current: threeSteps.id,
        retry: { maxAttempts: 3, backoff: 2, initialIntervalMs: options.initialIntervalMs ?? 20, maxIntervalMs: 1_000 },
        executionTimeoutMs: options.executionTimeoutMs ?? 3_600_000,
      },
    },
    [threeSteps],
  );
