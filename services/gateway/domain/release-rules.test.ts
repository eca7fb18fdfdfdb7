import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { ReleaseSettings } from '#lib/contracts/release.ts';
import type { Role } from './access.ts';
import { checkRelease } from './release-rules.ts';

const pointers = (release: object, role: Role | null = 'approver'): string[] => {
  const people = { role, approvers: new Set(['key-a', 'key-b']) };
  const findings = { submittedBy: 'key-me', people };
  return checkRelease(Value.Default(ReleaseSettings, release) as ReleaseSettings, findings).map(
    ({ pointer }) => pointer,
  );
};
const approval = (settings: object) => ({ promote: true, approval: settings });
const canary = (settings: object) => ({ promote: true, canary: settings });

describe('checkRelease', () => {
  it.each([
    ['none', {}],
    ['one without conditions', { promote: true }],
    ['any approver', approval({ required: 5 })],
    ['two of three, the submitter among them', approval({ required: 2, approvers: ['key-a', 'key-b', 'key-me'] })],
    ['a reminder every ten minutes for three days', approval({ remindEveryHours: 0.15 })],
    ['a reminder that never comes', approval({ expiresAfterHours: 1, remindEveryHours: 24 })],
    ['a canary', canary({})],
    ['a canary that ends when it may pass', canary({ minimumHours: 2, maximumHours: 2 })],
  ])('accepts %s', (_what, release) => {
    expect(pointers(release)).toEqual([]);
  });

  it('lets nobody release without an approval who may not give one', () => {
    const roles = ['viewer', 'submitter', null, 'approver', 'admin'] as const;
    expect(roles.map((role) => pointers({ promote: true }, role))).toEqual([
      ['/spec/release/approval'],
      ['/spec/release/approval'],
      ['/spec/release/approval'],
      [],
      [],
    ]);
    expect(pointers(approval({}), 'submitter')).toEqual([]);
    expect(pointers({ promote: false }, 'submitter')).toEqual([]);
  });

  it.each([
    ['an approver who is none', approval({ approvers: ['key-a', 'key-typo'] }), '/spec/release/approval/approvers/1'],
    ['a reminder every moment', approval({ remindEveryHours: 1e-7 }), '/spec/release/approval/remindEveryHours'],
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
