import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FactAt, foldFacts, givenWhenThen, T0, timed } from '../../../test/support/given-when-then.ts';
import { registryWithThreeSteps, threeSteps } from '../../../test/support/three-steps.ts';
import type { Fact } from './facts.ts';
import { evolve, type WorkflowState } from './workflow-state.ts';
import { PROFILES, workflowRegistry } from './workflows/registry.ts';
import { workflow } from './workflows/vocabulary.ts';

const napping = workflow<null>('nap@1', ({ waits, ends }) => ({
  initial: 'asleep',
  states: {
    asleep: waits({ timer: 'alarm', for: '30s', onFired: 'awake' }),
    awake: ends('COMPLETED', () => ({ rested: true })),
  },
}));
const registry = workflowRegistry(
  { ...PROFILES, three_steps: { current: threeSteps.id, retry: PROFILES.hpo.retry, executionTimeoutMs: 1_000 } },
  [threeSteps, napping],
);
const { given } = givenWhenThen(registry);

const start = (definition = threeSteps.id): Fact => ({
  type: 'WorkflowStarted',
  data: {
    jobId: 'j',
    project: 'p',
    jobType: 'three_steps',
    definition,
    priority: 1,
    submittedAtMs: 0,
    retry: { maxAttempts: 2, initialIntervalMs: 1_000, backoff: 2, maxIntervalMs: 9_000 },
    executionTimeoutMs: 1_000_000,
    input: { value: 7 },
  },
});
const of = (activityId: string, epoch: number) => ({ activityId, epoch });
const begun = (activityId: string, epoch = 1): Fact => ({
  type: 'ActivityStarted',
  data: { ...of(activityId, epoch), workerId: 'w', incarnation: 'i', startedAtMs: T0 },
});
const done = (activityId: string, epoch = 1): Fact => ({
  type: 'ActivityCompleted',
  data: { ...of(activityId, epoch), workerId: 'w', startedAtMs: T0, output: { of: activityId } },
});
const failed = (activityId: string, epoch = 1, retryable = true): Fact => ({
  type: 'ActivityFailed',
  data: {
    ...of(activityId, epoch),
    workerId: 'w',
    startedAtMs: T0,
    code: 'X',
    message: 'broke',
    retryable,
    logTail: ['log'],
  },
});
const lease = (activityId: string, epoch: number, reason: 'lost' | 'stalled' | 'timed_out' | 'not_started'): Fact => ({
  type: 'LeaseEnded',
  data: { ...of(activityId, epoch), reason },
});
const cancel: Fact = { type: 'CancelRequested', data: { requestedBy: 'x', reason: null } };
const timeout: Fact = { type: 'ExecutionTimedOut', data: {} };
const fired = (name: string): Fact => ({ type: 'TimerFired', data: { name } });

describe('a workflow', () => {
  it('asks for its first activity when it starts, with the retry policy it started with', () => {
    given()
      .when(start())
      .then(({ state, effects }) => {
        expect(effects).toEqual(['first: queued #1']);
        expect(state?.activities['first']?.request).toMatchObject({
          lane: 'cpu',
          input: { value: 7 },
          startToCloseMs: 60_000,
          retry: { maxAttempts: 2 },
        });
      });
  });

  it('asks for the next activity when one is done, and ends after the last with every output', () => {
    given(start())
      .when(done('first'))
      .then(({ effects }) => expect(effects).toEqual(['first: done #1', 'second: queued #1']));
    given(start(), done('first'), done('second'))
      .when(done('third'))
      .then(({ effects, state }) => {
        expect(effects).toEqual(['third: done #1', 'finished COMPLETED']);
        const outputs = { first: { of: 'first' }, second: { of: 'second' }, third: { of: 'third' } };
        expect(state?.finish).toEqual({ status: 'COMPLETED', result: outputs, error: null });
      });
  });

  it('hears nothing of a failed attempt that is tried again', () => {
    given(start())
      .when(failed('first'))
      .then(({ effects, state }) => {
        expect(effects).toEqual(['first: queued #2']);
        expect(state?.machine.value).toBe('first');
      });
  });

  it('fails with the failure of the last attempt, log lines included', () => {
    given(start(), failed('first'))
      .when(failed('first', 2))
      .then(({ effects, state }) => {
        expect(effects).toEqual(['first: failed #2', 'finished FAILED']);
        expect(state?.finish?.error).toEqual({ code: 'X', message: 'broke', retryable: true, logTail: ['log'] });
      });
  });

  it.each(['lost', 'stalled', 'timed_out', 'not_started'] as const)(
    'tells the worker of a %s attempt that its time is over',
    (reason) => {
      given(start(), begun('first'))
        .when(lease('first', 1, reason))
        .then(({ effects }) => expect(effects).toEqual(['first: queued #2', 'stop first #1 Revoked']));
    },
  );

  it('that is cancelled stops what it runs and ends as cancelled', () => {
    given(start(), done('first'), begun('second'))
      .when(cancel)
      .then(({ effects, state }) => {
        expect(effects).toEqual(['second: cancelled #1', 'stop second #1 Cancelled', 'finished CANCELLED']);
        expect(state?.finish).toEqual({ status: 'CANCELLED', result: null, error: null });
      });
  });

  it('that ran too long stops what it runs and says so', () => {
    given(start(), begun('first'))
      .when(timeout)
      .then(({ effects, state }) => {
        expect(effects).toEqual(['first: cancelled #1', 'stop first #1 Cancelled', 'finished TIMED_OUT']);
        expect(state?.finish?.error).toMatchObject({ code: 'ExecutionTimeout', retryable: false });
      });
  });

  it('that has ended is not changed by anything', () => {
    for (const ending of [cancel, timeout, failed('first', 1, false)])
      for (const after of [cancel, timeout, fired('alarm')])
        given(start(), ending)
          .when(after)
          .then(({ state, before, effects }) => {
            expect(JSON.stringify(state)).toBe(JSON.stringify(before));
            expect(effects).toEqual([]);
          });
  });

  it('that has ended and was stored is not changed by anything either', () => {
    const stored = reread(foldFacts(registry, timed([start(), cancel])));
    for (const after of [cancel, timeout])
      expect(evolve(registry, 'wf', stored, after, T0 + 9_000)).toEqual({ state: stored, effects: [] });
  });

  it('starts once, and nothing comes before its start', () => {
    expect(() => given(start()).when(start())).toThrow(/starts once/);
    expect(() => given().when(cancel)).toThrow(/has not started/);
  });

  it('of a machine that this release does not have throws, for parking', () => {
    expect(() => given().when(start('gone@1'))).toThrow(/no machine gone@1/);
    const state = foldFacts(registryWithThreeSteps(), timed([start()]));
    expect(() => evolve(workflowRegistry(), 'wf', state, cancel, T0)).toThrow(/no machine three_steps@1/);
  });
});

describe('timers', () => {
  it('are set when a state is entered and gone when they have fired', () => {
    given()
      .when(start('nap@1'))
      .then(({ effects, state }) => {
        expect(effects).toEqual([`timer alarm at ${T0 + 30_000}`]);
        expect(state?.timers).toEqual({ alarm: T0 + 30_000 });
      });
    given(start('nap@1'))
      .when(fired('alarm'))
      .then(({ effects, state }) => {
        expect(effects).toEqual(['finished COMPLETED']);
        expect(state?.timers).toEqual({});
      });
  });

  it('of another name move nothing', () => {
    given(start('nap@1'))
      .when(fired('other'))
      .then(({ effects, state }) => {
        expect(effects).toEqual([]);
        expect(state?.timers).toEqual({ alarm: T0 + 30_000 });
      });
  });

  it.each([
    ['cancelled', cancel],
    ['timed out', timeout],
  ])('of a workflow that is %s are cancelled with it', (_, ending) => {
    given(start('nap@1'))
      .when(ending)
      .then(({ effects, state }) => {
        expect(effects[0]).toBe('no timer alarm');
        expect(state?.timers).toEqual({});
      });
  });
});

const reread = (state: WorkflowState | null): WorkflowState => JSON.parse(JSON.stringify(state)) as WorkflowState;

describe('any history', () => {
  const names = ['first', 'second', 'third'];
  /** Any fact that admission would let through in this state. */
  const next = (state: WorkflowState, pick: number): Fact => {
    const open = Object.values(state.activities).find((e) => e.state === 'queued' || e.state === 'running');
    if (open === undefined || pick % 23 === 0) return pick % 2 === 0 ? cancel : timeout;
    const { epoch, request } = open;
    const id = request.activityId;
    const facts: Fact[] = [
      done(id, epoch),
      failed(id, epoch, pick % 5 !== 0),
      lease(id, epoch, 'lost'),
      lease(id, epoch, 'stalled'),
      { type: 'CheckpointSaved', data: { ...of(id, epoch), step: pick, manifestKey: 'k', digest: 'd' } },
      {
        type: 'ActivityYielded',
        data: { ...of(id, epoch), workerId: 'w', startedAtMs: T0 - pick, reason: 'Preempted' },
      },
      { type: 'ActivityDeclined', data: { ...of(id, epoch), workerId: 'w', reason: 'NoFreeSlot' } },
      { type: 'LateMessageIgnored', data: { message: 'ActivityStarted', ...of(id, 0) } },
      open.state === 'queued' ? begun(id, epoch) : done(id, epoch),
    ];
    return facts[pick % facts.length] ?? cancel;
  };
  const history = (picks: readonly number[]): FactAt[] => {
    const facts: FactAt[] = timed([start()]);
    let state = foldFacts(registry, facts);
    for (const [i, pick] of picks.entries()) {
      if (state === null || state.finish !== null) break;
      const each = { fact: next(state, pick), atMs: T0 + (i + 1) * 700 };
      facts.push(each);
      state = foldFacts(registry, [each], state);
    }
    return facts;
  };
  const picks = fc.array(fc.nat(1_000), { maxLength: 40 });

  it('folds to the same bytes each time, and from a stored state at every prefix', () => {
    fc.assert(
      fc.property(picks, (chosen) => {
        const log = history(chosen);
        const full = JSON.stringify(foldFacts(registry, log));
        expect(JSON.stringify(foldFacts(registry, log))).toBe(full);
        for (let length = 1; length <= log.length; length++) {
          const snapshot = reread(foldFacts(registry, log.slice(0, length)));
          expect(JSON.stringify(foldFacts(registry, log.slice(length), snapshot))).toBe(full);
        }
      }),
    );
  });

  it('never has two open activities of this flow, and none after its end', () => {
    fc.assert(
      fc.property(picks, (chosen) => {
        const state = foldFacts(registry, history(chosen));
        const open = names.filter((n) => ['queued', 'running'].includes(state?.activities[n]?.state ?? ''));
        expect(open).toHaveLength(state?.finish === null ? 1 : 0);
      }),
    );
  });
});
