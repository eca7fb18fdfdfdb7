import { describe, expect, it } from 'vitest';
import type { MessageTypes } from '#lib/contracts/generated/messages.ts';
import { givenWhenThen, WORKFLOW_ID } from '../../../test/support/given-when-then.ts';
import {
  activityCompleted,
  activityFailed,
  activityStarted,
  cancelRequested,
  upTo,
  workflowStarted,
} from '../../../test/replay/fine-tune-facts.ts';
import { admit, type WorkflowMessage } from './admission.ts';
import { workflowRegistry } from './workflows/registry.ts';

/** When the messages come. */
const NOW_MS = 2_000_000;
const registry = workflowRegistry();
const { given } = givenWhenThen(registry);

const message = <T extends WorkflowMessage['type']>(type: T, payload: MessageTypes[T]): WorkflowMessage =>
  ({ id: `${type}-1`, source: '/test', timeMs: 0, key: WORKFLOW_ID, type, payload }) as WorkflowMessage;

const start = (change: Partial<MessageTypes['StartWorkflow']> = {}): WorkflowMessage =>
  message('StartWorkflow', {
    workflowId: WORKFLOW_ID,
    jobId: 'job-1',
    project: 'demo',
    jobType: 'fine_tune',
    priority: 2,
    submittedAtMs: 5,
    inputJson: '{}',
    parentJson: null,
    submittedBy: null,
    ...change,
  });
const cancel = message('CancelJob', { workflowId: WORKFLOW_ID, requestedBy: 'key-1', reason: null });
const attempt = { workflowId: WORKFLOW_ID, activityId: 'run_training', epoch: 1, workerId: 'w9', incarnation: 'i9' };
const reports = {
  ActivityStarted: message('ActivityStarted', { ...attempt, startedAtMs: 1 }),
  CheckpointSaved: message('CheckpointSaved', { ...attempt, step: 5, manifestKey: 'k', digest: 'd' }),
  ActivityCompleted: message('ActivityCompleted', {
    ...attempt,
    startedAtMs: 1,
    finishedAtMs: 2,
    outputJson: '{"n":1}',
  }),
  ActivityFailed: message('ActivityFailed', {
    ...attempt,
    startedAtMs: 1,
    finishedAtMs: 2,
    code: 'X',
    message: 'm',
    retryable: true,
    logTail: ['l'],
  }),
  ActivityYielded: message('ActivityYielded', {
    ...attempt,
    startedAtMs: 1,
    finishedAtMs: 2,
    reason: 'Paused',
    step: 5,
  }),
  ActivityDeclined: message('ActivityDeclined', { ...attempt, reason: 'NoFreeSlot' }),
};

describe('a start command', () => {
  it('starts the current machine version with the profile of the job type', () => {
    expect(admit(registry, null, start({ inputJson: '{"a":1}' }), NOW_MS)).toEqual({
      kind: 'append',
      fact: {
        type: 'WorkflowStarted',
        data: {
          jobId: 'job-1',
          project: 'demo',
          jobType: 'fine_tune',
          definition: 'fine_tune@1',
          priority: 2,
          submittedAtMs: 5,
          retry: registry.profile('fine_tune')?.retry,
          executionTimeoutMs: 48 * 3_600_000,
          input: { a: 1 },
        },
      },
    });
  });

  it('for a workflow that has started changes nothing', () => {
    given(workflowStarted())
      .when(start())
      .then(({ admission, state, before }) => {
        expect(admission).toBe('ignore');
        expect(state).toBe(before);
      });
  });

  it.each(['hpo', 'retrain', 'rlhf', 'eval_only'])('of job type %s starts its machine', (jobType) => {
    expect(admit(registry, null, start({ jobType }), NOW_MS)).toMatchObject({
      kind: 'append',
      fact: { data: { jobType, definition: `${jobType}@1`, retry: registry.profile(jobType)?.retry } },
    });
  });

  it('of a child is recorded with its parent, and of anybody with the submitter', () => {
    const parent = { workflowId: 'wf-parent', childId: 'trial-0', reports: 'validation.loss' };
    const child = start({ parentJson: JSON.stringify(parent), submittedBy: 'key-1' });
    expect(admit(registry, null, child, NOW_MS)).toMatchObject({ fact: { data: { parent, submittedBy: 'key-1' } } });
    expect(() => admit(registry, null, start({ parentJson: '{' }), NOW_MS)).toThrow(SyntaxError);
  });

  it.each(['unknown', 'constructor', '__proto__'])('of job type %s, which has no machine, is ignored', (jobType) => {
    expect(admit(registry, null, start({ jobType }), NOW_MS)).toMatchObject({ kind: 'ignore' });
  });

  it('whose input is not JSON throws, for the dead letters', () => {
    expect(() => admit(registry, null, start({ inputJson: '{' }), NOW_MS)).toThrow(SyntaxError);
  });
});

describe('a cancel command', () => {
  it('is recorded with who asked and why', () => {
    given(workflowStarted())
      .when(cancel)
      .then(({ fact }) =>
        expect(fact).toEqual({ type: 'CancelRequested', data: { requestedBy: 'key-1', reason: null } }),
      );
  });

  it('for a workflow that has ended or never started is ignored', () => {
    given(workflowStarted(), cancelRequested)
      .when(cancel)
      .then(({ admission }) => expect(admission).toBe('ignore'));
    given()
      .when(cancel)
      .then(({ admission }) => expect(admission).toBe('ignore'));
  });
});

describe.each(Object.entries(reports))('%s', (type, report) => {
  it('of the current attempt is recorded', () => {
    given(...upTo('run_training'))
      .when(report)
      .then(({ admission, fact }) => {
        expect(admission).toBe('append');
        expect(fact?.type).toBe(type);
        expect(fact?.data).toMatchObject({ activityId: 'run_training', epoch: 1 });
      });
  });

  it('of a former epoch is recorded as late and changes nothing', () => {
    given(...upTo('run_training'), activityFailed('run_training', 1))
      .when(report)
      .then(({ admission, fact, state, before, effects }) => {
        expect(admission).toBe('late');
        expect(fact?.data).toEqual({ message: type, activityId: 'run_training', epoch: 1 });
        expect(state).toBe(before);
        expect(effects).toEqual([]);
      });
  });

  it('for an activity that is over, for one that nobody knows, and after the end is late', () => {
    for (const facts of [
      [...upTo('run_training'), activityCompleted('run_training')],
      [workflowStarted()],
      [...upTo('run_training'), cancelRequested],
      upTo(null),
    ])
      given(...facts)
        .when(report)
        .then(({ admission, state, before }) => {
          expect(admission).toBe('late');
          expect(state).toBe(before);
        });
  });

  it('for a workflow that nobody knows is ignored', () => {
    given()
      .when(report)
      .then(({ admission }) => expect(admission).toBe('ignore'));
  });
});

describe('a zombie', () => {
  const late = [...upTo('run_training'), activityFailed('run_training', 1)];

  it.each(['ActivityStarted', 'CheckpointSaved'] as const)('that shows itself by %s is told to stop', (type) => {
    expect(admit(registry, given(...late).state, reports[type], NOW_MS)).toMatchObject({
      stop: { activityId: 'run_training', epoch: 1 },
    });
  });

  it.each(['ActivityCompleted', 'ActivityFailed', 'ActivityYielded', 'ActivityDeclined'] as const)(
    'that ended by %s needs no stop',
    (type) => {
      expect(admit(registry, given(...late).state, reports[type], NOW_MS)).toMatchObject({ stop: null });
    },
  );
});

describe('reports', () => {
  it('a second start of the same attempt is ignored: the first one counts', () => {
    given(...upTo('run_training'), activityStarted('run_training', 1, 1_003_000))
      .when(reports.ActivityStarted)
      .then(({ admission, state }) => {
        expect(admission).toBe('ignore');
        expect(state?.activities['run_training']?.workerId).toBe('w1');
      });
  });

  it('an output that is not JSON throws, for the dead letters', () => {
    const broken = message('ActivityCompleted', { ...attempt, startedAtMs: 1, finishedAtMs: 2, outputJson: '{' });
    expect(() => admit(registry, given(...upTo('run_training')).state, broken, NOW_MS)).toThrow(SyntaxError);
  });

  it('an activity named like a member of every object is nobody’s', () => {
    for (const activityId of ['constructor', '__proto__', 'toString'])
      expect(
        admit(
          registry,
          given(workflowStarted()).state,
          message('ActivityDeclined', { ...attempt, activityId, reason: '' }),
          NOW_MS,
        ),
      ).toMatchObject({ kind: 'late' });
  });
});
