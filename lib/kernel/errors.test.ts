import { describe, expect, it } from 'vitest';
import type { CatalogueEntry } from './catalogue-entry.ts';
import { ERROR_CATALOGUE, type ErrorCode } from './error-catalogue.ts';
import { assertNever, invariant, InvariantViolation, messageOf, TrainyardError } from './errors.ts';

const entries = Object.entries(ERROR_CATALOGUE) as [ErrorCode, CatalogueEntry][];

describe('the error catalogue', () => {
  it.each(entries)('%s has a name, a cause and a remedy that people can read', (code, { cause, remedy }) => {
    expect(code).toMatch(/^[A-Z][A-Za-z0-9]+$/);
    expect(cause).toMatch(/^[A-Z`].{10,}\.$/);
    expect(remedy).toMatch(/^[A-Z`].{5,}\.$/);
  });

  it('has HTTP statuses for refusals of requests only', () => {
    const statuses = entries.flatMap(([, { http }]) => (http === undefined ? [] : [http]));
    expect(statuses.filter((http) => http < 400 || http > 507)).toEqual([]);
    const withoutRequest = entries.filter(([code]) => /^(Lease|Trainer|StartToClose|Execution|Checkpoint)/.test(code));
    expect(withoutRequest.length).toBeGreaterThan(5);
    expect(withoutRequest.filter(([, { http }]) => http !== undefined)).toEqual([]);
  });

  it('a status that asks to come again belongs to a code that can be tried again', () => {
    const again = entries.filter(([, { http }]) => [408, 429, 503].includes(http ?? 0));
    expect(again.length).toBeGreaterThan(2);
    expect(again.filter(([, entry]) => entry.class !== 'retryable')).toEqual([]);
  });
});

describe('TrainyardError', () => {
  it('can be tried again where the catalogue says so', () => {
    for (const [code, entry] of entries)
      expect(new TrainyardError(code, 'x').retryable).toBe(entry.class === 'retryable');
  });

  it('keeps its cause and its details', () => {
    const cause = new Error('below');
    const error = new TrainyardError('ServiceUnavailable', 'gone', { cause, details: { id: 1 } });
    expect(error).toMatchObject({ cause, details: { id: 1 }, fields: [], code: 'ServiceUnavailable' });
  });
});

describe('bugs', () => {
  it('are violations of an invariant', () => {
    expect(() => invariant(0, 'zero')).toThrow(new InvariantViolation('zero'));
    expect(() => invariant('yes', '')).not.toThrow();
    expect(() => assertNever('what' as never)).toThrow(/unhandled variant: "what"/);
  });

  it('messageOf says something about anything that was thrown', () => {
    expect([new Error('e'), 'text', 5, null, undefined].map(messageOf)).toEqual([
      'e',
      'text',
      '5',
      'null',
      'undefined',
    ]);
  });
});
