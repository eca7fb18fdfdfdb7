import { describe, expect, it } from 'vitest';
import { judgeTrainerEnd, type TrainerEnd } from './trainer-exit.ts';

const end = (part: Partial<TrainerEnd>): TrainerEnd => ({
  exitCode: 0,
  signal: null,
  result: null,
  error: null,
  ...part,
});
const result = { type: 'result' as const, steps: 3, metrics: {}, files: [] };
const error = { type: 'error' as const, code: 'NonFiniteLoss', message: 'loss is NaN', retryable: false };

describe('judgeTrainerEnd', () => {
  it('exit 0 with a result is done', () => {
    expect(judgeTrainerEnd(end({ result }))).toEqual({ kind: 'done', result });
  });
  it('exit 0 without a result is a failure that no retry mends', () => {
    expect(judgeTrainerEnd(end({}))).toMatchObject({ kind: 'failed', code: 'TrainerResultMissing', retryable: false });
  });
  it('exit 75 is a yield', () => {
    expect(judgeTrainerEnd(end({ exitCode: 75 }))).toEqual({ kind: 'yielded' });
  });
  it.each([
    [65, 'TrainerBadData'],
    [78, 'TrainerBadConfig'],
  ])('exit %d is not retryable, whatever the error line says', (exitCode, code) => {
    expect(judgeTrainerEnd(end({ exitCode }))).toMatchObject({ code, retryable: false });
    expect(judgeTrainerEnd(end({ exitCode, error: { ...error, retryable: true } }))).toMatchObject({
      code: 'NonFiniteLoss',
      retryable: false,
    });
  });
  it('any other exit follows the error line, and is retryable without one', () => {
    expect(judgeTrainerEnd(end({ exitCode: 1, error }))).toMatchObject({ code: 'NonFiniteLoss', retryable: false });
    expect(judgeTrainerEnd(end({ exitCode: 3 }))).toMatchObject({ code: 'TrainerFailed', retryable: true });
  });
  it('death by signal is retryable and names the signal', () => {
    const verdict = judgeTrainerEnd(end({ exitCode: null, signal: 'SIGKILL' }));
    expect(verdict).toMatchObject({ code: 'TrainerFailed', retryable: true });
    expect(verdict).toHaveProperty('message', expect.stringContaining('SIGKILL'));
  });
});
