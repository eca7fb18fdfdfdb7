import { describe, expect, it } from 'vitest';
import { acceptObservation, MAX_CLOCK_SKEW_MS } from './observation.ts';

const good = {
  observationId: 'o1',
  project: 'demo',
  model: 'm',
  modelVersion: 1,
  observedAtMs: 1_000,
  featuresJson: '{"length":3}',
  prediction: 'yes',
  score: null,
  label: null,
  routingUnit: null,
};

describe('acceptObservation', () => {
  it('accepts a complete observation, however old', () => {
    expect(acceptObservation({ ...good, observedAtMs: 0 }, 1e12)).toMatchObject({ ok: true });
  });
  it.each([
    ['observationId', { observationId: '' }],
    // A known bug: the database's index takes no such key, and the batch came again for ever.
    ['observationId', { observationId: 'o'.repeat(3_000) }],
    ['model', { model: 'm'.repeat(3_000) }],
    ['observedAtMs', { observedAtMs: -1 }],
    ['modelVersion', { modelVersion: 0 }],
    ['observedAtMs', { observedAtMs: 1_000 + MAX_CLOCK_SKEW_MS + 1 }],
    ['score', { score: Number.NaN }],
    ['featuresJson', { featuresJson: '[1]' }],
    ['featuresJson', { featuresJson: '{' }],
    ['featuresJson', { featuresJson: String.raw`{"a":{"b":"\u0000"}}` }],
    ['featuresJson', { featuresJson: String.raw`{"a":"\ud800"}` }],
    ['prediction', { prediction: 'a\u0000b' }],
    ['label', { label: '\ud800' }],
    ['routingUnit', { routingUnit: 'a\u0000b' }],
    ['routingUnit', { routingUnit: 'u'.repeat(3_000) }],
  ])('refuses a wrong %s by name', (field, change) => {
    expect(acceptObservation({ ...good, ...change }, 1_000)).toEqual({
      ok: false,
      reason: expect.stringContaining(field),
    });
  });
});
