import { describe, expect, it } from 'vitest';
import { type CastVote, changeOf, judgeVote, type Ticket } from './vote-rules.ts';

const cast = (by: string, decision: CastVote['decision']): CastVote => ({
  by,
  decision,
  comment: null,
  atMs: 1,
  hash: 'h',
});
const NOW = 1_000;
const ticket = (change: Partial<Ticket> = {}): Ticket => ({
  status: 'open',
  submittedBy: 'key-author',
  approvers: null,
  digest: 'd',
  votes: [],
  expiresAtMs: NOW + 1,
  ...change,
});
const judged = (
  change: Partial<Ticket>,
  by = 'key-a',
  decision: CastVote['decision'] = 'approve',
  digest = 'd',
): string => {
  const verdict = judgeVote(ticket(change), { by, decision, digest }, NOW);
  return verdict.kind === 'refused' ? verdict.code : verdict.kind;
};

describe('a vote', () => {
  it('counts from any approver, or from those the ticket names', () => {
    expect(judged({})).toBe('cast');
    expect(judged({ approvers: ['key-a'] })).toBe('cast');
    expect(judged({ approvers: ['key-b'] })).toBe('Forbidden');
    expect(judged({ submittedBy: null })).toBe('cast');
    expect(judged({ votes: [cast('key-b', 'approve')] })).toBe('cast');
  });

  it('never counts from whoever submitted the job, named as an approver or not', () => {
    expect(judged({}, 'key-author')).toBe('ApprovalBySubmitter');
    expect(judged({ approvers: ['key-author'] }, 'key-author', 'reject')).toBe('ApprovalBySubmitter');
  });

  it('is about what the voter saw', () => {
    expect(judged({}, 'key-a', 'approve', 'other')).toBe('ApprovalDigestMismatch');
  });

  it('is given once: the same again is no error, another one is', () => {
    const votes = [cast('key-a', 'approve')];
    expect(judged({ votes })).toBe('repeated');
    expect(judged({ votes, status: 'approved' })).toBe('repeated');
    expect(judged({ votes, status: 'approved' }, 'key-a', 'approve', 'other')).toBe('repeated');
    expect(judged({ votes }, 'key-a', 'reject')).toBe('ApprovalAlreadyVoted');
  });

  it('comes too late from the moment the ticket expires, its timer fired or not', () => {
    expect([NOW - 1, NOW].map((expiresAtMs) => judged({ expiresAtMs }))).toEqual(['ApprovalClosed', 'ApprovalClosed']);
    expect(judged({ expiresAtMs: NOW, votes: [cast('key-a', 'approve')] })).toBe('repeated');
  });

  it.each(['approved', 'rejected', 'expired', 'cancelled'] as const)(
    'comes too late when the ticket is %s',
    (status) => {
      expect(judged({ status })).toBe('ApprovalClosed');
    },
  );

  it('means nothing for a voided ticket', () => {
    expect(judged({ status: 'voided' })).toBe('ApprovalVoided');
  });
});

describe('what was reviewed', () => {
  const subject = {
    kind: 'release' as const,
    model: { name: 'm', version: 1 },
    artifacts: 'a',
    reports: { evaluation: 'e1' },
  };
  const version = (tags: Record<string, string>, manifestDigest = 'a') => ({ manifestDigest, tags });

  it('is what the registry has, whatever else is in the tags', () => {
    expect(changeOf(subject, version({}))).toBeNull();
    expect(
      changeOf(
        subject,
        version({ 'trainyard.report.evaluation': 'e1', 'trainyard.reportKey.evaluation': 'k', technique: 'full' }),
      ),
    ).toBeNull();
    expect(changeOf(subject, version({ 'trainyard.report.job-1': 'e1' }))).toBeNull();
  });

  it.each([
    ['a changed report', version({ 'trainyard.report.evaluation': 'e2' }), 'report evaluation was changed'],
    ['a later report', version({ 'trainyard.report.safety': 's1' }), 'report safety was attached later'],
    ['other artifacts', version({}, 'b'), 'the artifacts of the version are others'],
    ['no version', null, 'the version is not in the registry any more'],
  ])('is no longer that with %s', (_what, found, reason) => {
    expect(changeOf(subject, found)).toBe(reason);
  });
});
