import { describe, expect, it } from 'vitest';
import { evalOnlyInput, FULL_RELEASE, hpoInput, rlhfInput } from '../../../test/support/flows/flow-inputs.ts';
import { startOf, Story } from '../../../test/support/flows/story.ts';
import { WORKFLOW_ID } from '../../../test/support/given-when-then.ts';
import { admit, type WorkflowMessage } from './admission.ts';
import { workflowRegistry } from './workflows/registry.ts';

/** When the messages come. */
const NOW_MS = 2_000_000;
const registry = workflowRegistry();

const signal = (name: string, data: object, requestedBy = 'key-1'): WorkflowMessage => ({
  id: `signal-${name}`,
  source: '/test',
  timeMs: 0,
  key: WORKFLOW_ID,
  type: 'SignalWorkflow',
  payload: { workflowId: WORKFLOW_ID, signal: name, dataJson: JSON.stringify(data), requestedBy },
});
const asked = (story: Story, name: string, data: object, requestedBy?: string) =>
  admit(registry, story.state, signal(name, data, requestedBy), NOW_MS);

const running = () => new Story(startOf('eval_only', evalOnlyInput()));
const over = () => {
  const story = running();
  story.cancel();
  return story;
};
/** An aligned model that waits for two approvers. */
function asking(): Story {
  const story = new Story(startOf('rlhf', rlhfInput('dpo', FULL_RELEASE)));
  for (const activity of [
    'validate_preference_data',
    'preprocess_preferences',
    'run_alignment_training',
    'run_safety_evaluation',
    'run_quality_evaluation',
    'register_aligned_model',
  ])
    story.answer(activity);
  expect(story.machineState).toBe('approving');
  return story;
}

it('a signal for a workflow that nobody knows is ignored; one that nobody understands goes to the dead letters', () => {
  expect(admit(registry, null, signal('pause', { reason: null }), NOW_MS)).toMatchObject({ kind: 'ignore' });
  expect(() => asked(running(), 'nonsense', {})).toThrow(SyntaxError);
  expect(() => asked(over(), 'child.ended', {})).toThrow(SyntaxError);
});

describe('pause', () => {
  it('is recorded with who asked and why, once', () => {
    const story = running();
    expect(asked(story, 'pause', { reason: 'lunch' })).toEqual({
      kind: 'append',
      fact: { type: 'PauseRequested', data: { requestedBy: 'key-1', reason: 'lunch' } },
    });
    story.pause('lunch');
    expect(asked(story, 'pause', { reason: 'dinner' })).toMatchObject({ kind: 'ignore' });
    expect(asked(story, 'pause', { reason: 'ParentPaused' })).toMatchObject({ kind: 'ignore' });
  });

  it('of a workflow that has ended is ignored', () => {
    expect(asked(over(), 'pause', {})).toMatchObject({ kind: 'ignore' });
  });

  // A trial that was pruned while its search was paused went on with the search: another pruned set than without the pause.
  it('of a workflow that is paused with its parent takes the place of that pause, and is not taken back with it', () => {
    for (const reason of ['Pruned', null]) {
      const story = running();
      story.pause('ParentPaused');
      expect(asked(story, 'pause', { reason: 'ParentPaused' })).toMatchObject({ kind: 'ignore' });
      expect(asked(story, 'pause', { reason })).toMatchObject({ kind: 'append' });
      story.pause(reason);
      expect(story.state.paused).toMatchObject({ reason });
      expect(asked(story, 'resume', { reason: 'ParentPaused' })).toMatchObject({ kind: 'ignore' });
    }
  });
});

describe('resume', () => {
  it('is recorded for a paused workflow, whatever it was paused for', () => {
    const story = running();
    story.pause('Pruned');
    expect(asked(story, 'resume', {})).toEqual({
      kind: 'append',
      fact: { type: 'ResumeRequested', data: { requestedBy: 'key-1' } },
    });
  });

  it('with a reason is for what was paused for that reason only', () => {
    const story = running();
    story.pause('Pruned');
    expect(asked(story, 'resume', { reason: 'ParentPaused' })).toMatchObject({ kind: 'ignore' });
    expect(asked(story, 'resume', { reason: 'Pruned' })).toMatchObject({ kind: 'append' });
  });

  it('of a workflow that is not paused, or has ended, is ignored', () => {
    const ended = running();
    ended.pause();
    ended.cancel();
    for (const story of [running(), over(), ended])
      expect(asked(story, 'resume', {})).toMatchObject({ kind: 'ignore' });
  });
});

describe('retry', () => {
  it('is recorded for a workflow whose activity failed for good', () => {
    const story = running();
    story.fail('evaluate_models');
    expect(asked(story, 'retry', {})).toEqual({
      kind: 'append',
      fact: { type: 'RetryRequested', data: { requestedBy: 'key-1' } },
    });
    story.retry();
    expect(asked(story, 'retry', {})).toMatchObject({ kind: 'ignore' });
  });

  it('is ignored for one that runs, was cancelled, timed out, or ended otherwise', () => {
    const timedOut = running();
    timedOut.timeOut();
    const evalFailed = running();
    evalFailed.answer('evaluate_models', { metrics: [] });
    evalFailed.answer('attach_report');
    expect(evalFailed.status).toBe('EVAL_FAILED');
    for (const story of [running(), over(), timedOut, evalFailed])
      expect(asked(story, 'retry', {})).toMatchObject({ kind: 'ignore' });
  });

  it('is ignored for a search that failed without an activity that did: its trials are gone', () => {
    const story = new Story(startOf('hpo', hpoInput({ trials: 1 })));
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'FAILED');
    expect(story.status).toBe('FAILED');
    expect(asked(story, 'retry', {})).toMatchObject({ kind: 'ignore' });
  });
});

describe('approval.vote', () => {
  const vote = (story: Story, change: object = {}) => ({
    approval: 'release',
    decision: 'approve',
    comment: null,
    digest: story.state.approvals?.['release']?.digest ?? '',
    ...change,
  });

  it('that counts is recorded with the voter', () => {
    const story = asking();
    expect(asked(story, 'approval.vote', vote(story, { comment: 'fine' }), 'ann')).toEqual({
      kind: 'append',
      fact: { type: 'ApprovalVoted', data: { approval: 'release', by: 'ann', decision: 'approve', comment: 'fine' } },
    });
  });

  it.each([
    ['of the submitter', {}, 'key-submitter'],
    ['about another digest', { digest: 'f'.repeat(64) }, 'ann'],
    ['on a ticket that nobody opened', { approval: 'canary' }, 'ann'],
    ['on a ticket named like a member of every object', { approval: 'constructor' }, 'ann'],
  ])('%s is recorded as late and changes nothing', (_, change, by) => {
    const story = asking();
    expect(asked(story, 'approval.vote', vote(story, change), by)).toMatchObject({
      kind: 'late',
      fact: { type: 'LateMessageIgnored', data: { message: 'approval.vote', activityId: null, epoch: null } },
      stop: null,
    });
  });

  it('comes too late for a ticket that was decided, voided or whose job has ended', () => {
    const endings: ((story: Story) => void)[] = [
      (story) => story.vote('release', 'ann', 'reject'),
      (story) => story.voidTicket('release'),
      (story) => story.fire('approval:release:expires'),
      (story) => story.cancel(),
    ];
    for (const end of endings) {
      const story = asking();
      end(story);
      expect(asked(story, 'approval.vote', vote(story), 'bob')).toMatchObject({ kind: 'late' });
      expect(asked(story, 'approval.void', { approval: 'release', reason: 'x' })).toMatchObject({ kind: 'late' });
    }
  });
});

it('approval.void is recorded for an open ticket only', () => {
  expect(asked(asking(), 'approval.void', { approval: 'release', reason: 'changed' })).toEqual({
    kind: 'append',
    fact: { type: 'ApprovalVoided', data: { approval: 'release', reason: 'changed', requestedBy: 'key-1' } },
  });
  for (const approval of ['canary', '__proto__'])
    expect(asked(asking(), 'approval.void', { approval, reason: '' })).toMatchObject({ kind: 'late' });
});

describe('what the machine waits for', () => {
  const signals = {
    'child.reported': { child: 'trial-0', points: [{ step: 1, value: 2 }] },
    'child.paused': { child: 'trial-0', step: 1, gpuSeconds: 2 },
    'child.resumed': { child: 'trial-0' },
    'child.ended': { child: 'trial-0', jobId: 'j', status: 'FAILED', result: null, error: null, gpuSeconds: 0 },
    'canary.verdict': { outcome: 'pass', reports: [] },
  };

  it.each(Object.entries(signals))('%s is recorded with its sender', (name, data) => {
    expect(asked(running(), name, data, 'wf-child')).toEqual({
      kind: 'append',
      fact: { type: 'SignalReceived', data: { signal: name, data, from: 'wf-child' } },
    });
  });

  it.each(Object.entries(signals))('%s for a workflow that has ended is late, a report not even that', (name, data) => {
    expect(asked(over(), name, data).kind).toBe(name === 'child.reported' ? 'ignore' : 'late');
  });
});
