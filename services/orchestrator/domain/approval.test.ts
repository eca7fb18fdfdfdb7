import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chainHolds } from '#lib/contracts/approval-chain.ts';
import type { ApprovalPolicy } from '#lib/contracts/release.ts';
import { type ApprovalTicket, closeTicket, countBallot, openTicket, refusalOf, reminded } from './approval.ts';

const HOUR_MS = 3_600_000;
const subject = {
  kind: 'release' as const,
  model: { name: 'demo', version: 4 },
  artifacts: 'a'.repeat(64),
  reports: { evaluation: 'b'.repeat(64) },
};
const ticket = (policy: Partial<ApprovalPolicy> = {}, submittedBy: string | null = 'submitter'): ApprovalTicket =>
  openTicket(
    { approval: 'release', subject, policy: { required: 2, expiresAfterHours: 72, remindEveryHours: 24, ...policy } },
    submittedBy,
    1_000,
  );
const ballot = (by: string, decision: 'approve' | 'reject' = 'approve') => ({ by, decision, comment: `of ${by}` });
const votes = (of: ApprovalTicket, ...by: string[]): ApprovalTicket =>
  by.reduce((open, voter, at) => countBallot(open, ballot(voter), 2_000 + at), of);

describe('a ticket', () => {
  it('is open until the last of the required approvers agrees', () => {
    const one = votes(ticket(), 'ann');
    expect(one).toMatchObject({ status: 'open', decidedAtMs: null });
    expect(votes(one, 'bob')).toMatchObject({ status: 'approved', decidedAtMs: 2_000 });
    expect(votes(ticket({ required: 1 }), 'ann').status).toBe('approved');
    expect(votes(ticket({ required: 3 }), 'ann', 'bob').status).toBe('open');
  });

  it('is rejected by one rejection, however many agreed before', () => {
    const rejected = countBallot(votes(ticket({ required: 3 }), 'ann', 'bob'), ballot('cid', 'reject'), 9_000);
    expect(rejected).toMatchObject({ status: 'rejected', decidedAtMs: 9_000 });
  });

  it('expires and reminds after what the policy says, a reminder never more often than once a second', () => {
    expect(ticket()).toMatchObject({ expiresAtMs: 1_000 + 72 * HOUR_MS, remindEveryMs: 24 * HOUR_MS });
    expect(ticket({ remindEveryHours: 1e-9 }).remindEveryMs).toBe(1_000);
    expect(ticket({ expiresAfterHours: 0.5 }).expiresAtMs).toBe(1_000 + HOUR_MS / 2);
    expect(reminded(reminded(ticket())).reminders).toBe(2);
  });

  it.each(['expired', 'voided', 'cancelled'] as const)('that is %s takes no ballot', (status) => {
    const closed = closeTicket(ticket(), status, 5_000);
    expect(closed).toMatchObject({ status, decidedAtMs: 5_000 });
    expect(refusalOf(closed, { ...ballot('ann'), digest: closed.digest }, 2_000)).toBe('Closed');
  });

  it('takes no ballot at its expiry, whenever its timer fires', () => {
    const open = ticket({ expiresAfterHours: 1 });
    const vote = { ...ballot('ann'), digest: open.digest };
    expect(refusalOf(open, vote, open.expiresAtMs - 1)).toBeNull();
    expect(refusalOf(open, vote, open.expiresAtMs)).toBe('Closed');
  });

  it('that was decided stays as it was decided', () => {
    const approved = votes(ticket(), 'ann', 'bob');
    for (const status of ['expired', 'voided', 'cancelled'] as const)
      expect(closeTicket(approved, status, 9_000)).toBe(approved);
  });
});

describe('a ballot', () => {
  const { digest } = ticket();

  it('of the submitter never counts, not even when the policy names the submitter', () => {
    const named = ticket({ approvers: ['submitter', 'ann'] });
    expect(refusalOf(named, { ...ballot('submitter'), digest }, 2_000)).toBe('BySubmitter');
    expect(refusalOf(ticket(), { ...ballot('submitter', 'reject'), digest }, 2_000)).toBe('BySubmitter');
  });

  it('of somebody the policy does not name does not count; without names everybody but the submitter may', () => {
    expect(refusalOf(ticket({ approvers: ['ann'] }), { ...ballot('bob'), digest }, 2_000)).toBe('NotAnApprover');
    expect(refusalOf(ticket({ approvers: ['ann'] }), { ...ballot('ann'), digest }, 2_000)).toBeNull();
    expect(refusalOf(ticket(), { ...ballot('bob'), digest }, 2_000)).toBeNull();
    // A job of a former release has no submitter: nobody is left out, and null is nobody's key.
    expect(refusalOf(ticket({}, null), { ...ballot('bob'), digest }, 2_000)).toBeNull();
  });

  it('about something else than the ticket does not count', () => {
    expect(refusalOf(ticket(), { ...ballot('ann'), digest: 'c'.repeat(64) }, 2_000)).toBe('DigestMismatch');
  });

  it('counts once for each voter', () => {
    expect(refusalOf(votes(ticket(), 'ann'), { ...ballot('ann'), digest }, 2_000)).toBe('AlreadyVoted');
    expect(refusalOf(votes(ticket(), 'ann'), { ...ballot('ann', 'reject'), digest }, 2_000)).toBe('AlreadyVoted');
  });
});

describe('the digest', () => {
  it('is of the subject: another version, artifact or report is another question', () => {
    const policy = { required: 1, expiresAfterHours: 1, remindEveryHours: 1 };
    const digestOf = (change: object) =>
      openTicket({ approval: 'release', subject: { ...subject, ...change }, policy }, null, 0).digest;
    const digests = [
      digestOf({}),
      digestOf({ kind: 'inconclusive_canary' }),
      digestOf({ model: { name: 'demo', version: 5 } }),
      digestOf({ artifacts: 'd'.repeat(64) }),
      digestOf({ reports: { evaluation: 'e'.repeat(64) } }),
      digestOf({ reports: {} }),
    ];
    expect(new Set(digests).size).toBe(digests.length);
    expect(digestOf({})).toBe(ticket().digest);
  });
});

describe('the hash chain', () => {
  const long = votes(ticket({ required: 5 }), 'ann', 'bob', 'cid', 'dan');

  it('holds for a ticket as it was voted on, also after JSON', () => {
    expect(chainHolds(ticket())).toBe(true);
    expect(chainHolds(long)).toBe(true);
    expect(chainHolds(JSON.parse(JSON.stringify(long)) as ApprovalTicket)).toBe(true);
    expect(chainHolds(closeTicket(long, 'expired', 9_000))).toBe(true);
  });

  it('finds a changed subject', () => {
    expect(chainHolds({ ...long, subject: { ...subject, artifacts: 'f'.repeat(64) } })).toBe(false);
    expect(chainHolds({ ...long, digest: 'f'.repeat(64) })).toBe(false);
  });

  it('finds any vote that was changed, left out before another, swapped or made up', () => {
    fc.assert(
      fc.property(
        fc.nat(3),
        fc.constantFrom('by', 'decision', 'comment', 'atMs', 'hash', 'left out', 'swapped', 'made up'),
        (at, how) => {
          const vote = long.votes[at];
          if (vote === undefined) return;
          const changed = {
            by: { ...vote, by: 'eve' },
            decision: { ...vote, decision: 'reject' as const },
            comment: { ...vote, comment: null },
            atMs: { ...vote, atMs: vote.atMs + 1 },
            hash: { ...vote, hash: 'f'.repeat(64) },
          };
          const other = long.votes[(at + 1) % 4] ?? vote;
          const forged =
            how === 'left out'
              ? // The last one leaves no trace in the chain: that it was there is in the log.
                long.votes.toSpliced(Math.min(at, 2), 1)
              : how === 'swapped'
                ? long.votes.with(at, other).with((at + 1) % 4, vote)
                : how === 'made up'
                  ? [...long.votes, { ...vote, by: 'eve' }]
                  : long.votes.with(at, changed[how]);
          expect(chainHolds({ ...long, votes: forged })).toBe(false);
        },
      ),
    );
  });
});
