import { describe, expect, it } from 'vitest';
import type { ActivityInput } from '#lib/contracts/activities.ts';
import { hpoInput } from '../../../../test/support/flows/flow-inputs.ts';
import { trialResult } from '../../../../test/support/flows/flow-outputs.ts';
import { startOf, Story } from '../../../../test/support/flows/story.ts';
import type { WorkflowContext } from '../workflows/workflow-types.ts';
import type { SweepState } from './sweep-state.ts';

type Spec = Parameters<typeof hpoInput>[0];
const LIVE = { strategy: 'liveMedian' as const, warmUpSteps: 20, everySteps: 20, minimumTrials: 2 };

const searching = (change: Spec): Story => new Story(startOf('hpo', hpoInput(change)));
const sweepOf = (story: Story): SweepState =>
  (story.state.machine.context as WorkflowContext<unknown>).coordination?.['searching']?.state as SweepState;
const asked = (story: Story, call: number): ActivityInput<'generate_trial_configs'> | null =>
  (story.effects.flatMap((effect) =>
    effect.type === 'activityChanged' && effect.entry.request.activityId === `generate_trial_configs-${call}`
      ? [effect.entry.request.input]
      : [],
  )[0] ?? null) as ActivityInput<'generate_trial_configs'> | null;
const children = (story: Story): string[] =>
  story.effects.flatMap((effect) => (effect.type === 'startChild' ? [effect.childId] : []));
const pauses = (story: Story): unknown[] =>
  story.effects.flatMap((effect) =>
    effect.type === 'signal' && effect.signal === 'pause' ? [[effect.workflowId.split('~')[1], effect.data]] : [],
  );
const standings = (story: Story): string[] => sweepOf(story).trials.map(({ standing }) => standing);

describe('a search', () => {
  it('asks for as many configurations as may run at once, and for one more whenever a slot is free', () => {
    const story = searching({ trials: 5, maxConcurrent: 2 });
    expect(asked(story, 1)).toMatchObject({ firstTrial: 0, count: 2, history: [] });
    story.answer('generate_trial_configs-1');
    expect(children(story)).toEqual(['trial-0', 'trial-1']);
    expect(asked(story, 2)).toBeNull();
    story.reported('trial-0', [10, 1], [20, 2]);
    expect(asked(story, 2)).toBeNull();
    story.childEnded('trial-1', 'FAILED');
    expect(asked(story, 2)).toMatchObject({ firstTrial: 2, count: 1 });
    // Another slot is free before the answer: one question at a time, the next one asks for what is free then.
    story.childEnded('trial-0', 'FAILED');
    expect(asked(story, 3)).toBeNull();
    story.answer('generate_trial_configs-2');
    expect(asked(story, 3)).toMatchObject({ firstTrial: 3, count: 1 });
  });

  it('shows a sampler every trial so far, the running ones with their newest point', () => {
    const story = searching({ trials: 4, maxConcurrent: 2, sampler: { type: 'tpe', startupTrials: 1, candidates: 4 } });
    story.answer('generate_trial_configs-1');
    story.reported('trial-0', [10, 4]);
    story.childEnded('trial-1', 'COMPLETED', trialResult(2));
    expect(asked(story, 2)?.history).toMatchObject([
      { number: 0, outcome: 'running', value: null, lastReport: { step: 10, value: 4 } },
      { number: 1, outcome: 'completed', value: 2 },
    ]);
  });

  it('gives each trial its configuration in the member that it names, and a job of its own', () => {
    const story = searching({ trials: 2, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    const [first, second] = sweepOf(story).trials;
    expect(first?.configuration['learningRate']).not.toBe(second?.configuration['learningRate']);
    const started = story.effects.filter((effect) => effect.type === 'startChild');
    for (const [n, trial] of [first, second].entries())
      expect(started[n]).toMatchObject({
        jobId: `job-1-trial-${n}`,
        jobType: 'fine_tune',
        reports: 'validation.loss',
        input: { purpose: 'trial', spec: { hyperparameters: { learningRate: trial?.configuration['learningRate'] } } },
      });
  });

  it('is through when every trial is over, and takes the value of the objective at its end', () => {
    const story = searching({ trials: 2, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'COMPLETED', trialResult(3));
    // A trial whose answer lacks the metric counts with its last point.
    story.reported('trial-1', [100, 2.5]);
    story.childEnded('trial-1', 'COMPLETED', trialResult(null));
    expect(story.machineState).toBe('selecting');
    expect(sweepOf(story).trials.map(({ value }) => value)).toEqual([3, 2.5]);
  });

  it('ends with fewer trials when the grid has no more', () => {
    const space = { parameters: [{ name: 'batchSize', type: 'int' as const, min: 1, max: 3 }] };
    const story = searching({ space, sampler: { type: 'grid' }, trials: 9, maxConcurrent: 9 });
    story.answer('generate_trial_configs-1');
    expect(children(story)).toEqual(['trial-0', 'trial-1', 'trial-2']);
    expect(asked(story, 2)).toBeNull();
    for (const n of [0, 1, 2]) story.childEnded(`trial-${n}`, 'COMPLETED', trialResult(n));
    expect(story.machineState).toBe('selecting');
  });

  it('whose space has no configuration at all fails and says so', () => {
    const story = searching({ trials: 3, maxConcurrent: 3 });
    story.answer('generate_trial_configs-1', { configurations: [], exhausted: 'NoneSatisfiesConstraints' });
    expect(story.state.finish).toMatchObject({
      status: 'FAILED',
      error: { code: 'NoTrialCompleted', retryable: false },
    });
  });

  it('fails with the reasons when every trial failed, and with another code when the metric never came', () => {
    const failing = searching({ trials: 2, maxConcurrent: 2 });
    failing.answer('generate_trial_configs-1');
    failing.childEnded('trial-0', 'FAILED', null, { code: 'TrainerOutOfMemory' });
    failing.childEnded('trial-1', 'CANCELLED');
    expect(failing.state.finish?.error).toMatchObject({
      code: 'NoTrialCompleted',
      message: expect.stringContaining('FAILED: TrainerOutOfMemory; CANCELLED') as string,
    });
    const silent = searching({ trials: 2, maxConcurrent: 2 });
    silent.answer('generate_trial_configs-1');
    for (const n of [0, 1]) silent.childEnded(`trial-${n}`, 'COMPLETED', trialResult(null));
    expect(silent.state.finish?.error).toMatchObject({ code: 'MetricNeverReported' });
  });

  it('fails when its configurations cannot be made, and takes its trials along', () => {
    const story = searching({ trials: 3, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'FAILED');
    expect(story.fail('generate_trial_configs-2')).toContain('cancel wf-under-test~trial-1');
    expect(story.state.finish?.error).toMatchObject({ code: 'TrainerFailed' });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('a trial that ended with %s has no value', (value) => {
    const story = searching({ trials: 2, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'COMPLETED', trialResult(value));
    story.childEnded('trial-1', 'COMPLETED', trialResult(7));
    expect(sweepOf(story).trials.map(({ value }) => value)).toEqual([null, 7]);
    story.answer('select_best_trial');
    story.answer('evaluate_best');
    story.answer('register_model');
    expect(story.state.finish?.result).toMatchObject({ best: { number: 1 } });
  });

  it('takes the first of equals for the best', () => {
    const story = searching({
      trials: 3,
      maxConcurrent: 3,
      objective: { metric: 'validation.loss', direction: 'maximize' },
    });
    story.answer('generate_trial_configs-1');
    for (const [n, value] of [1, 5, 5].entries()) story.childEnded(`trial-${n}`, 'COMPLETED', trialResult(value));
    story.answer('select_best_trial');
    expect(story.state.activities['evaluate_best']?.request.input).toMatchObject({ jobId: 'job-1-trial-1' });
  });

  it('hears nothing from children that are none of its trials', () => {
    const story = searching({ trials: 2, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    const before = JSON.stringify(sweepOf(story));
    for (const child of ['trial-2', 'trial--1', 'trial-1x', 'constructor', ''])
      for (const tell of [
        () => story.reported(child, [20, 1]),
        () => story.childPaused(child, 1),
        () => story.childResumed(child),
        () => story.childEnded(child, 'COMPLETED', trialResult(0)),
      ])
        tell();
    story.verdict('pass');
    expect(JSON.stringify(sweepOf(story))).toBe(before);
  });
});

describe('pruning in a search', () => {
  /** Four trials at the first check; the last of them is the worst. */
  function checked(change: Spec = {}): Story {
    const story = searching({ trials: 6, maxConcurrent: 4, pruning: LIVE, ...change });
    story.answer('generate_trial_configs-1');
    for (const [n, value] of [1, 2, 1, 9].entries()) story.reported(`trial-${n}`, [20, value]);
    return story;
  }

  it('pauses the trial, keeps the evidence, and gives its slot away only when it has come to rest', () => {
    const story = checked();
    expect(standings(story)).toEqual(['running', 'pruned', 'running', 'pruned']);
    expect(pauses(story)).toEqual([
      ['trial-1', { reason: 'Pruned' }],
      ['trial-3', { reason: 'Pruned' }],
    ]);
    expect(sweepOf(story).prunings).toMatchObject([
      { trial: 1, evidence: { reason: 'WorseThanPeers', checkStep: 20, value: 2, peers: 1 } },
      { trial: 3, evidence: { reason: 'WorseThanPeers', checkStep: 20, value: 9, peers: 3 } },
    ]);
    expect(asked(story, 2)).toBeNull();
    story.childPaused('trial-3', 24, 5);
    expect(asked(story, 2)).toMatchObject({ firstTrial: 4, count: 1 });
    expect(sweepOf(story).trials[3]).toMatchObject({ atRest: true, steps: 24, gpuSeconds: 5 });
  });

  it('a metric that is not a number is pruned at its next check', () => {
    const story = searching({ trials: 2, maxConcurrent: 2, pruning: LIVE });
    story.answer('generate_trial_configs-1');
    story.reported('trial-0', [20, null]);
    expect(sweepOf(story).prunings).toMatchObject([{ trial: 0, evidence: { reason: 'NotANumber', value: 'NaN' } }]);
  });

  it('equals are kept', () => {
    const story = searching({ trials: 4, maxConcurrent: 4, pruning: LIVE });
    story.answer('generate_trial_configs-1');
    for (const n of [0, 1, 2, 3]) story.reported(`trial-${n}`, [20, 1]);
    expect(sweepOf(story).prunings).toEqual([]);
  });

  it('the last point of a trial prunes nothing: the result is there', () => {
    const story = searching({ trials: 2, maxConcurrent: 2, pruning: LIVE });
    story.answer('generate_trial_configs-1');
    story.reported('trial-0', [100, 1]);
    story.reported('trial-1', [100, 9]);
    expect(sweepOf(story).prunings).toEqual([]);
  });

  it('points that come again, late or after the decision change nothing', () => {
    const story = checked();
    const before = JSON.stringify([sweepOf(story).pruning, sweepOf(story).prunings]);
    story.reported('trial-0', [20, 99], [10, 99]);
    story.reported('trial-3', [40, 99]);
    expect(JSON.stringify([sweepOf(story).pruning, sweepOf(story).prunings])).toBe(before);
    expect(pauses(story)).toHaveLength(2);
  });

  it('a revived trial runs, is never pruned again, and no slot is given away for it', () => {
    const story = checked({ maxConcurrent: 4 });
    story.childPaused('trial-1', 20);
    story.childPaused('trial-3', 20);
    story.answer('generate_trial_configs-2');
    story.childResumed('trial-3');
    expect(standings(story)).toEqual(['running', 'pruned', 'running', 'running', 'running']);
    // Two of four slots were free, one call was for one of them; the revived one has taken the other.
    expect(asked(story, 3)).toMatchObject({ count: 1 });
    story.reported('trial-3', [40, 99], [60, 99]);
    expect(standings(story)[3]).toBe('running');
    story.childEnded('trial-3', 'COMPLETED', trialResult(0.5));
    expect(sweepOf(story).trials[3]).toMatchObject({ standing: 'completed', value: 0.5 });
  });

  // Found by reading: 48 hours after its start a pruned trial became a failed one, and the search forgot what it had saved.
  it.each(['TIMED_OUT', 'CANCELLED', 'FAILED'] as const)('a pruned trial whose job ends %s stays pruned', (status) => {
    const story = checked();
    story.childPaused('trial-3', 20, 5);
    story.childEnded('trial-3', status);
    expect(sweepOf(story).trials[3]).toMatchObject({ standing: 'pruned', atRest: true, steps: 20 });
  });

  it('a trial that completes although it was pruned is complete', () => {
    const story = checked();
    story.childEnded('trial-3', 'COMPLETED', trialResult(0.1));
    expect(sweepOf(story).trials[3]).toMatchObject({ standing: 'completed', value: 0.1 });
  });

  it('a failed trial that is tried again runs', () => {
    const story = searching({ trials: 3, maxConcurrent: 2 });
    story.answer('generate_trial_configs-1');
    story.childEnded('trial-0', 'FAILED');
    story.childResumed('trial-0');
    expect(standings(story)[0]).toBe('running');
    story.childEnded('trial-0', 'COMPLETED', trialResult(1));
    expect(sweepOf(story).trials[0]).toMatchObject({ standing: 'completed', value: 1 });
  });

  it('a search whose every trial is pruned or failed has no value', () => {
    const story = searching({ trials: 2, maxConcurrent: 2, pruning: LIVE });
    story.answer('generate_trial_configs-1');
    story.reported('trial-0', [20, null]);
    story.reported('trial-1', [20, null]);
    story.childPaused('trial-0', 20);
    story.childPaused('trial-1', 20);
    expect(story.state.finish?.error).toMatchObject({ code: 'NoTrialCompleted' });
  });
});
