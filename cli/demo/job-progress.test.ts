import { describe, expect, it } from 'vitest';
import { NOTHING_SAID } from './display.ts';
import { advance } from './job-progress.ts';
import { jobPhases } from './phases.ts';
import { currentStep, progressFrame } from './progress-frame.ts';
import { progressLog } from './progress-log.ts';
import { activity, at, job, trainingAt } from './test-scene.ts';
import { painted, widthOf } from './text-style.ts';

const progressAt = (seconds: number, step: number) => advance(null, trainingAt(seconds, step), 'Job 1 of 2');

describe('the progress of a job', () => {
  it('knows all twelve steps of the flow, and the one that runs', () => {
    const { steps } = progressAt(10, 700);
    expect(steps.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(steps.map(({ state }) => state).join(' ')).toBe(
      'done done done done done done done active pending pending pending pending',
    );
    expect(currentStep(progressAt(10, 700))).toMatchObject({
      number: 8,
      lane: 'GPU',
      name: 'run_training',
      tookMs: 8_000,
    });
  });

  it('begins with the dispatch, which is over when the workflow has started', () => {
    const snapshot = { ...trainingAt(0, 0), activities: [], job: job({ status: 'SUBMITTED', startedAt: null }) };
    expect(currentStep(advance(null, snapshot, ''))).toMatchObject({ number: 4, state: 'active' });
  });

  it('measures the time left from what the current attempt has done since it was first seen', () => {
    const first = progressAt(10, 500);
    expect(first.work?.etaMs).toBeNull();
    const second = advance(first, trainingAt(20, 1_500), '');
    expect(second.work).toMatchObject({ step: 1_500, loss: 3.9812, tokensPerSecond: 45_100, etaMs: 20_000 });
  });

  it('measures anew when another attempt goes on from a checkpoint', () => {
    const first = progressAt(10, 1_500);
    const second = advance(first, trainingAt(20, 1_000, { epoch: 2, failures: 1 }), '');
    expect(second.work?.etaMs).toBeNull();
    expect(currentStep(second).note).toBe('attempt 2');
  });

  it('says why a step waits, and takes a placed one for a waiting one', () => {
    const queued = { state: 'queued', waitReason: 'NoFreeSlot', startedAt: null, progress: null };
    expect(currentStep(advance(null, trainingAt(3, 0, queued), ''))).toMatchObject({
      state: 'waiting',
      note: 'NoFreeSlot',
    });
    const placed = advance(null, trainingAt(3, 0, { ...queued, state: 'placed', waitReason: null }), '');
    expect(currentStep(placed)).toMatchObject({ number: 8, state: 'waiting' });
  });

  it('ends with the status of the job', () => {
    const ended = (status: string) =>
      advance(null, { ...trainingAt(60, 3_500), job: job({ status, finishedAt: at(55) }) }, '');
    expect(ended('COMPLETED').steps.at(-1)).toMatchObject({ state: 'done', name: 'status COMPLETED' });
    expect(ended('EVAL_FAILED').steps.at(-1)).toMatchObject({ state: 'failed', name: 'status EVAL_FAILED' });
    expect(ended('COMPLETED').elapsedMs).toBe(55_000);
  });
});

describe('the live display', () => {
  const progress = advance(progressAt(10, 500), trainingAt(20, 1_612), 'Job 1 of 2: base model');
  const text = (columns: number, rows: number) =>
    progressFrame(progress, { columns, rows }).map((line) => painted(line, false));

  it('shows step, total, loss, speed, time left and the slot in use', () => {
    const frame = text(100, 30).join('\n');
    expect(frame).toContain('step 1,612 of 3,500 · loss 3.981 · 45k tokens/s · ETA 0:17');
    expect(frame).toContain('GPU lane: slot 0 of gpu-host, 1 of 1 in use');
    expect(frame).toMatch(/▸ {2}8 {2}GPU +run_training/);
    expect(frame).toContain(' 46 %');
  });

  it('never reaches the last column nor the last row, however small the terminal', () => {
    for (let columns = 1; columns <= 140; columns += 3)
      for (let rows = 2; rows <= 40; rows += 3) {
        const frame = progressFrame(progress, { columns, rows });
        expect(frame.length).toBeLessThan(Math.max(2, rows));
        for (const line of frame) expect(widthOf(line)).toBeLessThan(Math.max(2, columns));
      }
  });

  it('shows the current step alone on a narrow terminal', () => {
    expect(text(50, 24)[1]).toBe('▸ step 8/12 GPU run_training');
    expect(text(50, 24).slice(3)).toEqual([
      'step 1,612 of 3,500 · loss 3.981 · 45k tokens/s',
      'ETA 0:17 · GPU slot 1/1',
    ]);
  });
});

describe('the log without a terminal', () => {
  it('tells each step once, and a training every few seconds', () => {
    const first = progressLog(NOTHING_SAID, progressAt(3, 100));
    expect(first.lines).toHaveLength(8);
    expect(first.lines.at(-2)).toBe('demo-base   7/12  CPU prepare_workspace: done in 2.0 s');
    expect(first.lines.at(-1)).toBe('demo-base   8/12  GPU run_training: begins');
    const second = progressLog(first.said, progressAt(6, 200));
    expect(second.lines).toEqual([
      expect.stringMatching(/step 200 of 3,500 · loss 3\.981 · .*GPU slots in use 1 of 1$/),
    ]);
    expect(progressLog(second.said, progressAt(7, 300)).lines).toEqual([]);
  });
});

describe('the phases of a job', () => {
  it('add up to the time the client saw', () => {
    const activities = [
      activity('validate_dataset', 'cpu', { queuedAt: at(0) }),
      activity('run_training', 'gpu', { queuedAt: at(3), endedAt: at(46) }),
    ];
    const phases = jobPhases('base', 50, activities);
    expect(phases.map(({ seconds }) => seconds)).toEqual([3, 43, 4]);
    expect(jobPhases('base', 50, [])).toEqual([{ name: 'base', seconds: 50 }]);
  });
});
