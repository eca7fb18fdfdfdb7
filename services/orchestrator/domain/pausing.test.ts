import { describe, expect, it } from 'vitest';
import { evalOnlyInput, hpoInput, retrainInput } from '../../../test/support/flows/flow-inputs.ts';
import { CHALLENGER } from '../../../test/support/flows/flow-outputs.ts';
import { startOf, Story } from '../../../test/support/flows/story.ts';
import { fineTuneInput } from '../../../test/replay/fine-tune-facts.ts';
import { WORKFLOW_ID } from '../../../test/support/given-when-then.ts';

const parent = { workflowId: 'wf-parent', childId: 'trial-0', reports: 'validation.loss' };

/** A trial that trains on the GPU lane. */
function training(): Story {
  const story = new Story(startOf('fine_tune', { ...fineTuneInput(), purpose: 'trial' }, { parent }));
  for (const activity of ['validate_dataset', 'preprocess_data', 'prepare_workspace']) story.answer(activity);
  return story;
}

describe('a paused workflow', () => {
  it('stops what runs, keeps its checkpoint, and places nothing until it is resumed', () => {
    const story = training();
    story.begin('run_training');
    story.checkpoint('run_training', 50);
    expect(story.pause('Pruned')).toEqual(['stop run_training #1 Paused']);
    expect(story.yieldUp('run_training')).toEqual(['run_training: queued #2', 'child.paused to wf-parent']);
    expect(story.state.paused).toEqual({ reason: 'Pruned', by: 'key-1' });
    expect(story.resume()).toEqual(['run_training: queued #2', 'child.resumed to wf-parent']);
    expect(story.state.paused).toBeUndefined();
    expect(story.state.activities['run_training']).toMatchObject({ checkpoint: { step: 50, epoch: 1 }, failures: 0 });
  });

  it('says where it came to rest and what it has used', () => {
    const story = training();
    story.begin('run_training');
    story.checkpoint('run_training', 50);
    story.pause('Pruned');
    story.yieldUp('run_training');
    const effect = story.effects.find((each) => each.type === 'signal' && each.signal === 'child.paused');
    expect(effect).toMatchObject({ workflowId: 'wf-parent', data: { child: 'trial-0', step: 50, gpuSeconds: 4 } });
  });

  it('of which nothing runs comes to rest at once', () => {
    expect(training().pause('Pruned').at(-1)).toBe('child.paused to wf-parent');
  });

  // Found by reading: the attempt kept its number, so after a quick resume the old command and the new one ran under the same fencing token.
  it('whose attempt was placed and not heard of gives that attempt up: its command may still be on its way', () => {
    const story = training();
    expect(story.pause()).toEqual([
      'stop run_training #1 Revoked',
      'run_training: queued #2',
      'child.paused to wf-parent',
    ]);
    expect(story.resume()).toEqual(['run_training: queued #2', 'child.resumed to wf-parent']);
    expect(story.state.activities['run_training']).toMatchObject({ failures: 0, preemptions: 0, lostInARow: 0 });
  });

  it('whose attempt backs off goes on backing off', () => {
    const story = new Story(startOf('eval_only', evalOnlyInput()));
    story.fail('evaluate_models', true);
    const { notBeforeMs } = story.state.activities['evaluate_models'] ?? {};
    story.pause();
    expect(story.state.activities['evaluate_models']?.notBeforeMs).toBe(Math.max(notBeforeMs ?? 0, story.nowMs));
  });

  it('goes on in its machine by what had been started, and that waits for the resume', () => {
    const story = training();
    story.begin('run_training');
    story.pause();
    expect(story.answer('run_training')).toEqual([
      'run_training: done #1',
      'upload_artifacts: queued #1',
      'child.paused to wf-parent',
    ]);
    expect(story.resume()).toContain('upload_artifacts: queued #1');
  });

  it('whose worker dies meanwhile comes to rest too', () => {
    const story = training();
    story.begin('run_training');
    story.pause();
    const lost = { activityId: 'run_training', epoch: 1, reason: 'lost' as const };
    expect(story.tell({ type: 'LeaseEnded', data: lost })).toEqual([
      'run_training: queued #2',
      'stop run_training #1 Revoked',
      'child.paused to wf-parent',
    ]);
  });

  it.each([
    ['cancelled', (story: Story) => story.cancel(), 'CANCELLED'],
    ['timed out', (story: Story) => story.timeOut(), 'TIMED_OUT'],
  ])('can be %s, and is not paused any more then', (_, end, status) => {
    const story = training();
    story.begin('run_training');
    story.pause();
    expect(end(story)).toEqual([
      'run_training: cancelled #1',
      'stop run_training #1 Cancelled',
      `finished ${status}`,
      'child.ended to wf-parent',
    ]);
    expect(story.state.paused).toBeUndefined();
  });
});

describe('a paused search', () => {
  const child = (n: number) => `${WORKFLOW_ID}~trial-${n}`;

  function searching(): Story {
    const story = new Story(startOf('hpo', hpoInput({ trials: 6, maxConcurrent: 3 })));
    story.answer('generate_trial_configs-1');
    return story;
  }

  it('pauses the trials that run, and resumes only what it paused itself', () => {
    const story = searching();
    story.childEnded('trial-1', 'FAILED');
    const said = story.pause();
    expect(said.filter((line) => line.startsWith('pause'))).toEqual([`pause to ${child(0)}`, `pause to ${child(2)}`]);
    const signals = () => story.effects.flatMap((each) => (each.type === 'signal' ? [each] : []));
    expect(signals().map(({ data }) => data)).toEqual([{ reason: 'ParentPaused' }, { reason: 'ParentPaused' }]);
    story.resume();
    // A pruned trial is paused for another reason: this passes it by (admission).
    expect(signals().slice(2)).toMatchObject([
      { workflowId: child(0), signal: 'resume', data: { reason: 'ParentPaused' } },
      { workflowId: child(2), signal: 'resume', data: { reason: 'ParentPaused' } },
    ]);
  });

  // Found by reading: configurations that came after the pause started trials that trained on.
  it('starts trials paused when what it had asked for comes after the pause', () => {
    const story = new Story(startOf('hpo', hpoInput({ trials: 2, maxConcurrent: 2 })));
    story.begin('generate_trial_configs-1');
    story.pause();
    expect(story.answer('generate_trial_configs-1')).toEqual([
      'generate_trial_configs-1: done #1',
      'child trial-0: fine_tune',
      `pause to ${child(0)}`,
      'child trial-1: fine_tune',
      `pause to ${child(1)}`,
    ]);
    expect(story.resume()).toEqual([`resume to ${child(0)}`, `resume to ${child(1)}`]);
  });

  it('asks for no configuration of a freed slot until it is resumed', () => {
    const story = searching();
    story.pause();
    story.childEnded('trial-0', 'FAILED');
    expect(story.state.activities['generate_trial_configs-2']).toMatchObject({ state: 'queued' });
    expect(story.resume()[0]).toBe('generate_trial_configs-2: queued #1');
  });
});

describe('a retry', () => {
  it('goes back to the step that failed, with its checkpoint and a full set of attempts, and tells the parent', () => {
    const story = training();
    story.begin('run_training');
    story.checkpoint('run_training', 50);
    expect(story.fail('run_training')).toEqual([
      'run_training: failed #1',
      'finished FAILED',
      'child.ended to wf-parent',
    ]);
    expect(story.retry()).toEqual(['reopened', 'run_training: queued #2', 'child.resumed to wf-parent']);
    expect(story.machineState).toBe('training');
    expect(story.state.finish).toBeNull();
    expect(story.state.activities['run_training']).toMatchObject({ checkpoint: { step: 50 }, failures: 0 });
    // A full set: three failures end it again.
    story.fail('run_training', true);
    story.fail('run_training', true);
    expect(story.status).toBeNull();
    story.fail('run_training', true);
    expect(story.status).toBe('FAILED');
  });

  it('ends as if nothing had failed when it goes well then', () => {
    const straight = training();
    const retried = training();
    retried.fail('run_training');
    retried.retry();
    for (const story of [straight, retried]) {
      story.answer('run_training');
      story.answer('upload_artifacts');
    }
    expect(retried.state.finish).toEqual(straight.state.finish);
    expect(retried.state.machine).toEqual(straight.state.machine);
  });

  it('is possible in every step of every flow whose step failed', () => {
    const story = new Story(startOf('retrain', retrainInput()));
    const steps: [string, () => void][] = [
      ['assemble_training_data', () => undefined],
      ['compare_with_champion', () => story.childEnded('training', 'COMPLETED', CHALLENGER)],
      ['attach_report', () => undefined],
    ];
    for (const [activity, before] of steps) {
      before();
      story.fail(activity);
      expect(story.status).toBe('FAILED');
      expect(story.retry()[0]).toBe('reopened');
      story.answer(activity);
    }
    expect(story.status).toBe('COMPLETED');
  });

  it('of a search that failed after its trials goes on with what they found', () => {
    const story = new Story(startOf('hpo', hpoInput({ trials: 1 })));
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'COMPLETED', { ...trial(), training: { 'validation.loss': 2 } });
    story.fail('select_best_trial');
    expect(story.retry()).toEqual(['reopened', 'select_best_trial: queued #2']);
    story.answer('select_best_trial');
    expect(story.machineState).toBe('evaluatingBest');
  });
});

const trial = () => ({
  artifacts: CHALLENGER.artifacts,
  runId: 'r',
  steps: 100,
  data: { manifestKey: 'd', digest: 'e'.repeat(64) },
  vocabularySize: 1_024,
  workspace: 'w',
});
