import { initialTransition, transition } from 'xstate';
import { describe, expect, it } from 'vitest';
import { threeSteps } from '../../../test/support/three-steps.ts';
import { machineRunner } from './machine.ts';
import { workflow } from './workflows/vocabulary.ts';
import type { WorkflowEvent } from './workflows/workflow-types.ts';

const done = (activity: string): WorkflowEvent => ({ type: 'activity.done', activity, output: { of: activity } });
const EVENTS: WorkflowEvent[] = [
  done('first'),
  done('first'),
  { type: 'timer', name: 'none' },
  done('second'),
  { type: 'activity.failed', activity: 'first', failure: { code: 'X', message: '', retryable: true, logTail: [] } },
  done('third'),
  { type: 'cancel' },
];

describe('machineRunner', () => {
  it('says the same as xstate’s own transition functions, event by event', () => {
    const runner = machineRunner(threeSteps);
    let [snapshot] = initialTransition(threeSteps, { value: 1 });
    let state = runner.start({ value: 1 }).state;
    for (const event of EVENTS) {
      const [next, actions] = transition(threeSteps, snapshot, event);
      const step = runner.step(state, event);
      expect(step.state).toEqual({ value: next.value, context: next.context });
      expect(step.actions).toEqual(
        actions.filter((a) => !a.type.startsWith('xstate.')).map(({ type, params }) => ({ type, params })),
      );
      expect(step.moved).toBe(next !== snapshot);
      snapshot = next;
      state = step.state;
    }
    expect(state.value).toBe('completed');
  });

  it('starts as xstate’s own function does, without asking the machine for a start that has no input', () => {
    const inputs: unknown[] = [];
    const machine = workflow<{ value: number }>('asks@1', ({ runs, ends }) => ({
      initial: 'first',
      states: {
        first: runs('validate_dataset', {
          lane: 'cpu',
          startToClose: '1m',
          input: ({ input }) => {
            inputs.push(input);
            return { dataset: input.value } as never;
          },
          onDone: 'completed',
        }),
        completed: ends('COMPLETED'),
      },
    }));
    const [snapshot, actions] = initialTransition(machine, { value: 1 });
    const runner = machineRunner(machine);
    inputs.length = 0;
    for (const _ of [1, 2]) {
      const step = runner.start({ value: 1 });
      expect(step.state).toEqual({ value: snapshot.value, context: snapshot.context });
      expect(step.actions).toEqual(actions.map(({ type, params }) => ({ type, params })));
    }
    expect(inputs).toEqual([{ value: 1 }, { value: 1 }]);
  });

  it('says the same for a state that was stored and read again', () => {
    const runner = machineRunner(threeSteps);
    const live = runner.step(runner.start({ value: 1 }).state, done('first'));
    const stored = JSON.parse(JSON.stringify(live.state)) as typeof live.state;
    expect(runner.step(stored, done('second'))).toEqual(runner.step(live.state, done('second')));
  });

  it('a state that the machine no longer has throws instead of going anywhere', () => {
    const runner = machineRunner(threeSteps);
    expect(() => runner.step({ value: 'gone', context: {} }, { type: 'cancel' })).toThrow(/gone/);
  });
});
