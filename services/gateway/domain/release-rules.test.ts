import { Value } from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { ReleaseSettings } from '#lib/contracts/release.ts';
import { checkRelease } from './release-rules.ts';

const pointers = (release: object, submittedBy: string | null = 'key-me'): string[] =>
  checkRelease(Value.Default(ReleaseSettings, release) as ReleaseSettings, submittedBy).map((error) => error.pointer);
const approval = (settings: object) => ({ promote: true, approval: settings });
const canary = (settings: object) => ({ promote: true, canary: settings });

describe('checkRelease', () => {
  it.each([
    ['none', {}],
    ['one without conditions', { promote: true }],
    ['any approver', approval({ required: 5 })],
    ['two of three, the submitter among them', approval({ required: 2, approvers: ['key-a', 'key-b', 'key-me'] })],
    ['a canary', canary({})],
    ['a canary that ends when it may pass', canary({ minimumHours: 2, maximumHours: 2 })],
  ])('accepts %s', (_what, release) => {
    expect(pointers(release)).toEqual([]);
  });

  it.each([
    ['an approval that leads nowhere', { approval: {} }, '/spec/release/approval'],
    ['a canary that leads nowhere', { promote: false, canary: {} }, '/spec/release/canary'],
    [
      'more approvals than approvers',
      approval({ required: 3, approvers: ['key-a', 'key-b'] }),
      '/spec/release/approval/required',
    ],
    ['only the submitter', approval({ approvers: ['key-me'] }), '/spec/release/approval/approvers'],
    [
      'too few besides the submitter',
      approval({ required: 2, approvers: ['key-a', 'key-me'] }),
      '/spec/release/approval/approvers',
    ],
    [
      'a canary that ends before it may pass',
      canary({ minimumHours: 3, maximumHours: 2 }),
      '/spec/release/canary/minimumHours',
    ],
    [
      'a metric twice',
      canary({
        metrics: [1, 2].map(() => ({ name: 'error_rate', against: 'baseline', higherIsBetter: false, tolerance: 0.1 })),
      }),
      '/spec/release/canary/metrics/1',
    ],
  ])('refuses %s', (_what, release, pointer) => {
    expect(pointers(release)).toEqual([pointer]);
  });
});
