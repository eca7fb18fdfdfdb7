import { expect, it } from 'vitest';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { isOperationalFailure } from './operational-failure.ts';

const failed = (code: string): Error => Object.assign(new Error(`failed with ${code}`), { code });

it.each([
  'EPIPE',
  'EBADF',
  'EINTR',
  'ECONNRESET',
  'ECONNREFUSED',
  'ETIMEDOUT',
  '08006',
  '57P01',
  '57P03',
  '40001',
  '53300',
])('a commit that failed with %s says nothing about the messages of its batch', (code) => {
  expect(isOperationalFailure(failed(code))).toBe(true);
});

it.each(['22P05', '22003', '54000', '42P01'])(
  'a commit that failed with %s failed for what it would have written',
  (code) => {
    expect(isOperationalFailure(failed(code))).toBe(false);
  },
);

it('an error of ours says itself whether trying again may help', () => {
  expect(isOperationalFailure(new TrainyardError('ServiceUnavailable', 'away'))).toBe(true);
  expect(isOperationalFailure(new TrainyardError('ValidationFailed', 'wrong'))).toBe(false);
});
