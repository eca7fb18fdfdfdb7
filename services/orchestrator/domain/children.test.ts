import { describe, expect, it } from 'vitest';
import {
  evalOnlyInput,
  FULL_RELEASE,
  hpoInput,
  retrainInput,
  rlhfInput,
} from '../../../test/support/flows/flow-inputs.ts';
import { trialResult } from '../../../test/support/flows/flow-outputs.ts';
import { startOf, Story } from '../../../test/support/flows/story.ts';
import { WORKFLOW_ID } from '../../../test/support/given-when-then.ts';
import { workflowRegistry } from './workflows/registry.ts';

const child = (n: number) => `${WORKFLOW_ID}~trial-${n}`;
const cancels = (said: readonly string[]) => said.filter((line) => line.startsWith('cancel '));

/** A search whose first three trials run. */
function searching(): Story {
  const story = new Story(startOf('hpo', hpoInput({ trials: 3, maxConcurrent: 3 })));
  expect(story.answer('generate_trial_configs-1').filter((line) => line.startsWith('child'))).toEqual([
    'child trial-0: fine_tune',
    'child trial-1: fine_tune',
    'child trial-2: fine_tune',
  ]);
  return story;
}

describe('a child', () => {
  it('is started with an id of its parent, its own job, and the input of its type', () => {
    const story = new Story(startOf('retrain', retrainInput()));
    story.answer('assemble_training_data');
    const started = story.effects.find((effect) => effect.type === 'startChild');
    expect(started).toMatchObject({
      childId: 'training',
      workflowId: `${WORKFLOW_ID}~training`,
      jobId: 'job-1-training',
      jobType: 'fine_tune',
      input: { jobId: 'job-1-training', project: 'demo' },
      reports: null,
    });
    expect(story.state.children).toEqual({
      training: { workflowId: `${WORKFLOW_ID}~training`, jobId: 'job-1-training', ended: false },
    });
  });

  it('tells its parent how it ended, with what it used', () => {
    const parent = { workflowId: 'wf-parent', childId: 'evaluation', reports: null };
    const story = new Story(startOf('eval_only', evalOnlyInput(), { parent }));
    story.begin('evaluate_models');
    story.fail('evaluate_models');
    expect(story.effects.at(-1)).toMatchObject({
      type: 'signal',
      workflowId: 'wf-parent',
      signal: 'child.ended',
      data: { child: 'evaluation', jobId: 'job-1', status: 'FAILED', error: { code: 'TrainerFailed' }, gpuSeconds: 2 },
    });
  });

  it('that failed does not take its siblings with it', () => {
    const story = searching();
    expect(story.childEnded('trial-1', 'FAILED')).toEqual([]);
    expect(story.status).toBeNull();
    expect(story.state.children?.['trial-1']?.ended).toBe(true);
    expect(story.state.children?.['trial-2']?.ended).toBe(false);
  });

  it('that nobody started changes no list of children', () => {
    const story = searching();
    const before = story.state.children;
    story.childEnded('trial-9', 'FAILED');
    story.childEnded('constructor', 'FAILED');
    expect(story.state.children).toEqual(before);
  });
});

describe('the end of a parent', () => {
  it.each([
    ['cancelled', (story: Story) => story.cancel()],
    ['timed out', (story: Story) => story.timeOut()],
  ])('that is %s takes along the children that still run', (_, end) => {
    const story = searching();
    story.childEnded('trial-1', 'FAILED');
    expect(cancels(end(story))).toEqual([`cancel ${child(0)}`, `cancel ${child(2)}`]);
  });

  it('that fails takes along the children that still run', () => {
    const story = new Story(startOf('hpo', hpoInput({ trials: 6, maxConcurrent: 2 })));
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'FAILED');
    expect(cancels(story.fail('generate_trial_configs-2'))).toEqual([`cancel ${child(1)}`]);
    expect(story.status).toBe('FAILED');
  });

  it('that went well leaves the pruned ones paused: they can be revived later', () => {
    const story = new Story(
      startOf(
        'hpo',
        hpoInput({
          trials: 4,
          maxConcurrent: 4,
          pruning: { strategy: 'liveMedian', warmUpSteps: 20, everySteps: 20, minimumTrials: 2 },
        }),
      ),
    );
    story.answer('generate_trial_configs-1');
    for (const n of [0, 1, 2]) story.reported(`trial-${n}`, [20, 1]);
    expect(story.reported('trial-3', [20, 9])).toEqual([`pause to ${child(3)}`]);
    story.childPaused('trial-3', 20);
    for (const n of [0, 1, 2]) story.childEnded(`trial-${n}`, 'COMPLETED', trialResult(1 + n));
    story.answer('select_best_trial');
    story.answer('evaluate_best');
    const said = story.answer('register_model');
    expect(said.at(-1)).toBe('finished COMPLETED');
    expect(cancels(story.said)).toEqual([]);
    expect(story.state.children?.['trial-3']?.ended).toBe(false);
  });

  it('that runs again after its end knows which of its children go on', () => {
    const story = searching();
    story.childEnded('trial-0', 'FAILED');
    story.childResumed('trial-0');
    expect(story.state.children?.['trial-0']?.ended).toBe(false);
    expect(cancels(story.cancel())).toHaveLength(3);
  });
});

describe('what a job is shown as by the state of its machine', () => {
  const registry = workflowRegistry();

  it('AWAITING_APPROVAL and CANARY where people and traffic decide, nothing elsewhere', () => {
    for (const definition of ['hpo@1', 'retrain@1', 'rlhf@1']) {
      const machine = registry.machine(definition);
      expect(machine?.statusOf('approving')).toBe('AWAITING_APPROVAL');
      expect(machine?.statusOf('decidingCanary')).toBe('AWAITING_APPROVAL');
      expect(machine?.statusOf('canary')).toBe('CANARY');
      for (const state of ['releasing', 'promoting', 'completed', 'constructor', 'unknown'])
        expect(machine?.statusOf(state)).toBeNull();
    }
    expect(registry.machine('fine_tune@1')?.statusOf('training')).toBeNull();
  });

  it('the state that runs an activity is found by it, also for searches of many calls: none', () => {
    expect(registry.machine('rlhf@1')?.stateRunning('run_safety_evaluation')).toBe('checkingSafety');
    expect(registry.machine('hpo@1')?.stateRunning('generate_trial_configs-1')).toBeNull();
    expect(registry.machine('hpo@1')?.stateRunning('constructor')).toBeNull();
  });
});

describe('tickets in the fold', () => {
  const steps = [
    'validate_preference_data',
    'preprocess_preferences',
    'run_alignment_training',
    'run_safety_evaluation',
    'run_quality_evaluation',
    'register_aligned_model',
  ];
  function asking(): Story {
    const story = new Story(startOf('rlhf', rlhfInput('dpo', FULL_RELEASE)));
    for (const activity of steps) story.answer(activity);
    return story;
  }
  const HOUR_MS = 3_600_000;

  it('are opened with their timers, for the submitter of the job', () => {
    const story = asking();
    expect(story.said.slice(-4)).toEqual([
      'register_aligned_model: done #1',
      `timer approval:release:expires at ${story.nowMs + 72 * HOUR_MS}`,
      `timer approval:release:remind at ${story.nowMs + 24 * HOUR_MS}`,
      'approval release: open',
    ]);
    expect(story.state.approvals?.['release']).toMatchObject({ submittedBy: 'key-submitter', required: 2 });
  });

  it('remind until somebody decides, and expire then', () => {
    const story = asking();
    const opened = story.nowMs;
    for (const n of [1, 2]) {
      const said = story.fire('approval:release:remind');
      expect(story.nowMs).toBe(opened + n * 24 * HOUR_MS);
      expect(said).toEqual([
        `timer approval:release:remind at ${story.nowMs + 24 * HOUR_MS}`,
        'approval release: open, reminder',
      ]);
    }
    expect(story.fire('approval:release:expires')).toEqual([
      'approval release: expired',
      'no timer approval:release:remind',
      'finished REJECTED',
    ]);
    expect(story.state.timers).toEqual({});
  });

  it('that are decided, voided or closed by the end of the job leave no timer behind', () => {
    const endings: [(story: Story) => unknown, string, string][] = [
      [(story) => story.vote('release', 'ann', 'reject'), 'rejected', 'REJECTED'],
      [(story) => story.voidTicket('release'), 'voided', 'REJECTED'],
      [(story) => story.cancel(), 'cancelled', 'CANCELLED'],
      [(story) => story.timeOut(), 'cancelled', 'TIMED_OUT'],
    ];
    for (const [end, ticket, status] of endings) {
      const story = asking();
      end(story);
      expect(story.state.approvals?.['release']?.status).toBe(ticket);
      expect(story.status).toBe(status);
      expect(story.state.timers).toEqual({});
    }
  });

  it('ask for all the votes they require', () => {
    const story = asking();
    expect(story.vote('release', 'ann')).toEqual(['approval release: open']);
    expect(story.machineState).toBe('approving');
    story.vote('release', 'bob');
    expect(story.machineState).toBe('canary');
  });
});
