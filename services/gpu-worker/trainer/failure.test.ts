import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { describeFailure, required } from './failure.ts';

const systemError = (code: string): Error => Object.assign(new Error(`${code}: no luck`), { code });

test('a full disk or quota is retryable', () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    expect(describeFailure(systemError(code))).toMatchObject({ code: 'DiskFull', retryable: true, exitCode: 1 });
  }
});

test('failed allocations of V8 and of the engine are out of memory, whatever their class', () => {
  const thrown = [
    (): unknown => new Float32Array(2 ** 50),
    (): never => {
      throw new Error('Non-zero status code: std::bad_alloc');
    },
  ];
  for (const cause of thrown) {
    let failure: unknown;
    try {
      cause();
    } catch (error) {
      failure = error;
    }
    expect(describeFailure(failure)).toMatchObject({ code: 'TrainerOutOfMemory', retryable: false, exitCode: 1 });
  }
});

test('anything unknown may be the machine, so it is tried again', () => {
  expect(describeFailure(new Error('?'))).toEqual({
    code: 'TrainerFailed',
    message: '?',
    retryable: true,
    exitCode: 1,
  });
});

test('the exit code says whose fault it is', () => {
  expect(describeFailure(new TrainyardError('TrainerBadData', '')).exitCode).toBe(65);
  expect(describeFailure(new TrainyardError('LoraRankTooLarge', '')).exitCode).toBe(78);
  expect(describeFailure(new TrainyardError('NonFiniteLoss', '')).exitCode).toBe(1);
});

test('a missing file that must exist is named; other errors pass through', async () => {
  await expect(required('/no/such', () => readFile('/no/such'))).rejects.toMatchObject({ code: 'TrainerDataMissing' });
  await expect(required('x', () => Promise.reject(systemError('EACCES')))).rejects.toMatchObject({ code: 'EACCES' });
});
