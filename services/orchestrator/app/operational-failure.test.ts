import { expect, it } from 'vitest';
import { InvariantViolation, TrainyardError } from '#lib/kernel/errors.ts';
import { isOperationalFailure } from './operational-failure.ts';

const withCode = (code: string, message = code): Error => Object.assign(new Error(message), { code });

// A message that is taken for the cause of such a failure goes to the dead letters, and its job with it.
it.each(['EPIPE', 'ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', '57P01', '57P03', '08006', '40P01', '53300'])(
  'a commit that fails with %s may succeed later: no message is to blame',
  (code) => {
    expect(isOperationalFailure(withCode(code))).toBe(true);
  },
);

it('a connection that ended without a code is no message’s fault', () => {
  expect(isOperationalFailure(new Error('Connection terminated unexpectedly'))).toBe(true);
  expect(isOperationalFailure(new TrainyardError('ServiceUnavailable', 'the bus is away'))).toBe(true);
});

it.each(['22P02', '22021', '42703', 'P0001'])('a commit that fails with %s fails for what it says', (code) => {
  expect(isOperationalFailure(withCode(code))).toBe(false);
});

it('a bug is not passed off as trouble', () => {
  expect(isOperationalFailure(new InvariantViolation('x'))).toBe(false);
  expect(isOperationalFailure(new TypeError('x is not a function'))).toBe(false);
});
