import { describe, expect, it } from 'vitest';
import { Value } from '#typebox/value';
import { ACTIVITIES } from '#lib/contracts/activities.ts';
import { FineTuneInput, type Threshold } from '#lib/contracts/jobs.ts';
import { givenWhenThen } from '../../../../test/support/given-when-then.ts';
import {
  activityCompleted,
  activityFailed,
  cancelRequested,
  executionTimedOut,
  fineTuneInput,
  FLOW,
  leaseEnded,
  upTo,
  workflowStarted,
} from '../../../../test/replay/fine-tune-facts.ts';
import { machineRunner } from '../machine.ts';
import { fineTune } from './fine-tune.ts';
import { workflowRegistry } from './registry.ts';
import type { WorkflowEvent } from './workflow-types.ts';

const { given } = givenWhenThen(workflowRegistry());
const STRICT: readonly Threshold[] = [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 2 }];
const GPU = ['run_training', 'run_evaluation'];

describe('fine_tune@1', () => {
  it('runs its seven activities one after the other, training and evaluation on the GPU lane', () => {
    given()
      .when(workflowStarted())
      .then(({ effects }) => expect(effects).toEqual(['validate_dataset: queued #1']));
    for (const [i, [state, name]] of FLOW.entries()) {
      const waiting = given(...upTo(name)).state;
      expect(waiting?.machine.value).toBe(state);
      expect(waiting?.activities[name]?.request.lane).toBe(GPU.includes(name) ? 'gpu' : 'cpu');
      const next = FLOW[i + 1]?.[1];
      given(...upTo(name))
        .when(activityCompleted(name))
        .then(({ effects }) =>
          expect(effects).toEqual([
            `${name}: done #1`,
            next === undefined ? 'finished COMPLETED' : `${next}: queued #1`,
          ]),
        );
    }
  });

  it.each(FLOW)('%s gives %s an input that its worker accepts', (_, name) => {
    expect(Value.Check(FineTuneInput, fineTuneInput())).toBe(true);
    const input = given(...upTo(name)).state?.activities[name]?.request.input;
    expect([...Value.Errors(ACTIVITIES[name].input, input)]).toEqual([]);
  });

  it('ends with what was measured and the registered version', () => {
    expect(given(...upTo(null)).state?.finish).toMatchObject({
      status: 'COMPLETED',
      error: null,
      result: {
        model: { name: 'demo-speeches', version: 1, stage: 'dev' },
        evaluation: { gate: { passed: true } },
        training: { 'train.loss': 3.25 },
        samples: [{ prompt: 'My fellow' }],
      },
    });
  });

  it('a model that does not pass the gate is never registered, and each threshold says why', () => {
    given(...upTo('run_evaluation', STRICT))
      .when(activityCompleted('run_evaluation'))
      .then(({ effects, state }) => {
        expect(effects).toEqual(['run_evaluation: done #1', 'finished EVAL_FAILED']);
        expect(state?.activities).not.toHaveProperty('register_model');
        expect(state?.finish).toMatchObject({
          error: null,
          result: {
            model: null,
            evaluation: { gate: { passed: false, results: [{ actual: 2.5, passed: false }] } },
          },
        });
      });
  });

  it('a metric that the evaluation did not report keeps the gate shut', () => {
    given(...upTo('run_evaluation'))
      .when(activityCompleted('run_evaluation', { output: { metrics: [] } }))
      .then(({ state }) => expect(state?.finish?.status).toBe('EVAL_FAILED'));
  });

  it.each(FLOW)('in %s, a final failure of %s ends the job with that failure', (_, name) => {
    given(...upTo(name))
      .when(activityFailed(name, 1, false))
      .then(({ effects, state }) => {
        expect(effects).toEqual([`${name}: failed #1`, 'finished FAILED']);
        expect(state?.finish).toEqual({
          status: 'FAILED',
          result: null,
          error: { code: 'TrainerFailed', message: 'it broke', retryable: false, logTail: ['a', 'b'] },
        });
      });
  });

  it.each(FLOW)('in %s, the third failure of %s is the last', (_, name) => {
    given(...upTo(name), activityFailed(name, 1), activityFailed(name, 2))
      .when(activityFailed(name, 3))
      .then(({ state }) => expect(state?.finish?.status).toBe('FAILED'));
  });

  it.each(FLOW)('in %s, a lost attempt of %s starts again as the next epoch', (_, name) => {
    given(...upTo(name))
      .when(leaseEnded(name, 1, 'lost'))
      .then(({ effects }) => expect(effects).toEqual([`${name}: queued #2`, `stop ${name} #1 Revoked`]));
  });

  it.each(FLOW)('can be cancelled and can time out in %s', (_, name) => {
    for (const [ending, status] of [
      [cancelRequested, 'CANCELLED'],
      [executionTimedOut, 'TIMED_OUT'],
    ] as const)
      given(...upTo(name))
        .when(ending)
        .then(({ effects }) =>
          expect(effects).toEqual([`${name}: cancelled #1`, `stop ${name} #1 Cancelled`, `finished ${status}`]),
        );
  });
});

/**
 * Every path through the machine: from each state, every event that the ledger or the engine can tell it. Events it must not react to
 * (other activities, timers nobody set) are among them. States are few and the flow has no loop, so this ends.
 */
describe('every path of fine_tune@1', () => {
  const runner = machineRunner(fineTune);
  const input = fineTuneInput();
  const outputOf = (name: (typeof FLOW)[number][1]): unknown =>
    (activityCompleted(name).data as { output: unknown }).output;
  const bad = { ...(outputOf('run_evaluation') as object), metrics: [] };
  const events: WorkflowEvent[] = [
    ...FLOW.map(([, activity]) => ({ type: 'activity.done' as const, activity, output: outputOf(activity) })),
    { type: 'activity.done', activity: 'run_evaluation', output: bad },
    ...FLOW.map(([, activity]) => ({
      type: 'activity.failed' as const,
      activity,
      failure: { code: 'X', message: '', retryable: false, logTail: [] },
    })),
    { type: 'cancel' },
    { type: 'timeout' },
    { type: 'timer', name: 'none' },
  ];
  interface Path {
    readonly states: readonly string[];
    readonly asked: readonly string[];
    readonly gatePassed: boolean;
    readonly status: string | null;
  }
  const paths: Path[] = [];
  const first = runner.start(input);
  const asks = (actions: typeof first.actions): string[] =>
    actions.flatMap((a) => (a.type === 'startActivity' ? [a.params.name] : []));
  const walk = (state: typeof first.state, path: Path): void => {
    let moved = false;
    for (const event of events) {
      const step = runner.step(state, event);
      if (!step.moved) continue;
      moved = true;
      const finish = step.actions.find((a) => a.type === 'finish');
      const passes = event.type === 'activity.done' && event.activity === 'run_evaluation' && event.output !== bad;
      walk(step.state, {
        states: [...path.states, step.state.value],
        asked: [...path.asked, ...asks(step.actions)],
        gatePassed: path.gatePassed || passes,
        status: finish?.type === 'finish' ? finish.params.status : null,
      });
    }
    if (!moved) paths.push(path);
  };
  walk(first.state, { states: [first.state.value], asked: asks(first.actions), gatePassed: false, status: null });

  it('ends with a status, and asks for each activity at most once', () => {
    expect(paths.length).toBeGreaterThan(20);
    for (const path of paths) {
      expect(path.status).not.toBeNull();
      expect(new Set(path.asked).size).toBe(path.asked.length);
    }
    expect(new Set(paths.map((p) => p.status))).toEqual(
      new Set(['COMPLETED', 'EVAL_FAILED', 'FAILED', 'CANCELLED', 'TIMED_OUT']),
    );
  });

  it('that registers a model has passed the gate', () => {
    const registering = paths.filter((path) => path.asked.includes('register_model'));
    expect(registering.length).toBeGreaterThan(0);
    expect(registering.every((path) => path.gatePassed)).toBe(true);
  });

  it('that completes has run the seven activities in their order', () => {
    const complete = paths.filter((path) => path.status === 'COMPLETED');
    expect(complete.map((path) => path.asked)).toEqual([FLOW.map(([, name]) => name)]);
  });
});
