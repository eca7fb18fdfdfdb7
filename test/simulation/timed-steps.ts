import type { ActivityName } from '#lib/contracts/activities.ts';
import { workflow } from '../../services/orchestrator/domain/workflows/vocabulary.ts';

const step = (name: string): ActivityName => name as ActivityName;
const nothing = () => ({}) as never;

/** A flow for the simulation alone: durable timers between steps, and a step that may run out of its time. Never part of the shipped registry. */
export const timedSteps = workflow<object>('timed_steps@1', ({ runs, waits, ends }) => ({
  initial: 'first',
  states: {
    first: runs(step('sim_cpu_step'), { lane: 'cpu', startToClose: '30s', input: nothing, onDone: 'cooling' }),
    cooling: waits({ timer: 'cooled', for: '3s', onFired: 'second' }),
    second: runs(step('sim_gpu_step'), { lane: 'gpu', startToClose: '4s', input: nothing, onDone: 'settling' }),
    settling: waits({ timer: 'settled', for: '1s', onFired: 'completed' }),
    completed: ends('COMPLETED', ({ outputs }) => outputs),
  },
}));
