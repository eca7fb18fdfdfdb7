import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { voteHash } from '#lib/contracts/approval-chain.ts';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { digestOf } from '#lib/contracts/digest.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { ApprovalVoteRequested } from '#lib/contracts/generated/messages.ts';
import type { Lineage } from '#lib/model-registry/port.ts';
import { takeRequests } from '../../../services/gateway/app/ingress.ts';
import { commandsFor } from './bus-reader.ts';
import { type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
let two: ProjectKeys;
let ids: Record<string, string>;
beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  two = await gateway.project('two');
  const { body } = await gateway.call('/v1/projects/one/keys', { key: one.admin });
  ids = Object.fromEntries((body['items'] as { id: string; role: string }[]).map(({ role, id }) => [role, id]));
  const lineage: Lineage = {
    jobId: 'job-1',
    runId: 'run',
    datasetName: 'corpus',
    datasetVersion: '1',
    datasetDigest: 'd',
    configDigest: 'c',
    codeCommit: 'x',
    baseModelDigest: 'b',
    evaluationReportDigest: 'e',
    manifestDigest: 'manifest-1',
  };
  for (const name of ['speeches', 'letters'])
    await gateway.registry.createVersion({
      project: 'one',
      name,
      sourceKey: name,
      manifestKey: 'm',
      lineage,
      tags: { 'trainyard.report.evaluation': 'report-1' },
    });
});
afterAll(() => gateway.close());

const DIGEST = 'd'.repeat(64);
let tickets = 0;
const subjectOf = (model: string) => ({
  kind: 'release',
  model: { name: model, version: 1 },
  artifacts: 'manifest-1',
  reports: { evaluation: 'report-1' },
});

/** A ticket as the orchestrator projects it; returns its id. */
async function ticket(change: Record<string, unknown> = {}, model = 'speeches'): Promise<string> {
  const n = tickets++;
  const row = {
    id: `job-${n}-release`,
    project: 'one',
    status: 'open',
    submitted_by: ids['submitter'],
    required: 2,
    approvers: null,
    votes: [],
    ...change,
  };
  const json = (value: unknown) => (value === null ? null : JSON.stringify(value));
  await gateway.database.query(
    `insert into approvals (id, project, job_id, workflow_id, approval, status, subject, digest, submitted_by, required, approvers, votes,
                            requested_at_ms, expires_at_ms, decided_at_ms, reminders)
     values ($1, $2, $3, $4, 'release', $5, $6, $7, $8, $9, $10, $11, $12, 9000000000000, null, 0)`,
    [
      row.id,
      row.project,
      `job-${n}`,
      `wf-${n}`,
      row.status,
      json(subjectOf(model)),
      DIGEST,
      row.submitted_by,
      row.required,
      json(row.approvers),
      json(row.votes),
      1_000 + n,
    ],
  );
  return row.id;
}
const vote = (id: string, decision: 'approve' | 'reject', key: string, body: Record<string, unknown> = {}) =>
  gateway.call(`/v1/approvals/${id}/${decision}`, { key, body: { digest: DIGEST, ...body } });
const signalsOf = (id: string) => commandsFor(gateway, `wf-${/\d+/.exec(id)?.[0] ?? ''}`);
const voted = (decision: string) => [{ by: ids['approver'], decision, comment: null, atMs: 5, hash: 'h' }];

describe('a vote', () => {
  it('is passed on to the workflow that asks, once however often it is sent', async () => {
    const id = await ticket();
    for (let i = 0; i < 2; i++) {
      const answer = await vote(id, 'approve', one.approver, { comment: 'looks good' });
      expect([answer.status, answer.body['status']]).toEqual([202, 'open']);
    }
    const sent = await signalsOf(id);
    expect(new Set(sent.map((message) => message.id))).toEqual(new Set([`vote:${id}:${ids['approver']}`]));
    const [first] = sent;
    if (first?.type !== 'SignalWorkflow') throw new Error('no signal');
    expect(first.payload).toMatchObject({ signal: 'approval.vote', requestedBy: ids['approver'] });
    expect(JSON.parse(first.payload.dataJson)).toEqual({
      approval: 'release',
      decision: 'approve',
      comment: 'looks good',
      digest: DIGEST,
    });
  });

  it('that counted before is answered with 200, also when it closed the ticket, and sent no more', async () => {
    const id = await ticket({ status: 'rejected', votes: voted('reject') });
    expect((await vote(id, 'reject', one.approver)).status).toBe(200);
    expect(await signalsOf(id)).toEqual([]);
  });

  const refusals: [
    what: string,
    change: () => Record<string, unknown>,
    digest: string,
    status: number,
    code: string,
  ][] = [
    [
      'by the key that submitted the job',
      () => ({ submitted_by: ids['approver'] }),
      DIGEST,
      403,
      'ApprovalBySubmitter',
    ],
    ['by a key that is not asked', () => ({ approvers: ['key-else'] }), DIGEST, 403, 'Forbidden'],
    ['that contradicts its own', () => ({ votes: voted('reject') }), DIGEST, 409, 'ApprovalAlreadyVoted'],
    ['when the ticket is decided', () => ({ status: 'approved' }), DIGEST, 409, 'ApprovalClosed'],
    ['when the ticket has expired', () => ({ status: 'expired' }), DIGEST, 409, 'ApprovalClosed'],
    ['on a voided ticket', () => ({ status: 'voided' }), DIGEST, 409, 'ApprovalVoided'],
    ['about something else', () => ({}), 'e'.repeat(64), 409, 'ApprovalDigestMismatch'],
  ];
  it.each(refusals)('%s is refused, and nothing is sent', async (_what, change, digest, status, code) => {
    const id = await ticket(change());
    const answer = await vote(id, 'approve', one.approver, { digest });
    expect(problemOf(answer)).toMatchObject({ status, code });
    expect(answer.body).toMatchObject({ approvalId: id });
    expect(await signalsOf(id)).toEqual([]);
  });

  it('needs the role approver, a ticket of the project, and a digest', async () => {
    const id = await ticket();
    for (const key of [one.viewer, one.submitter])
      expect(problemOf(await vote(id, 'approve', key))).toMatchObject({ status: 403, code: 'Forbidden' });
    expect(problemOf(await vote(id, 'approve', two.approver))).toMatchObject({ status: 404, code: 'NotFound' });
    expect(problemOf(await vote('none', 'reject', one.approver))).toMatchObject({ status: 404, code: 'NotFound' });
    expect(problemOf(await vote(id, 'reject', one.approver, { digest: undefined })).pointers).toEqual(['/digest']);
    expect((await vote(id, 'approve', one.admin)).status).toBe(202);
  });

  it('voids the ticket when a report has changed since, and says so', async () => {
    const id = await ticket({}, 'letters');
    await gateway.registry.setTags('one', 'letters', 1, { 'trainyard.report.evaluation': 'report-2' });
    const answer = await vote(id, 'approve', one.approver);
    expect(problemOf(answer)).toMatchObject({ status: 409, code: 'ApprovalVoided' });
    const [signal] = await signalsOf(id);
    if (signal?.type !== 'SignalWorkflow') throw new Error('no signal');
    expect([signal.id, signal.payload.signal]).toEqual([`void:${id}`, 'approval.void']);
    expect(JSON.parse(signal.payload.dataJson)).toEqual({
      approval: 'release',
      reason: 'report evaluation was changed',
    });
  });
});

describe('tickets', () => {
  it('are shown with what was reviewed and how it was voted, to their project', async () => {
    const id = await ticket({ votes: voted('approve') });
    const { body } = await gateway.call(`/v1/approvals/${id}`, { key: one.viewer });
    expect(body).toMatchObject({
      id,
      status: 'open',
      digest: DIGEST,
      submittedBy: ids['submitter'],
      required: 2,
      approvers: null,
      subject: { model: { name: 'speeches', version: 1 }, reports: { evaluation: 'report-1' } },
      votes: [{ by: ids['approver'], decision: 'approve', at: '1970-01-01T00:00:00.005Z', hash: 'h' }],
      decidedAt: null,
    });
    expect((await gateway.call(`/v1/approvals/${id}`, { key: two.admin })).status).toBe(404);
  });

  it('say whether anybody has changed what was reviewed or voted', async () => {
    const digest = digestOf(subjectOf('speeches'));
    const cast = { by: ids['approver'] ?? '', decision: 'approve', comment: null, atMs: 5 } as const;
    const id = await ticket({ votes: [{ ...cast, hash: voteHash(digest, cast) }] });
    const holds = async () => (await gateway.call(`/v1/approvals/${id}`, { key: one.viewer })).body['chainHolds'];
    await gateway.database.query('update approvals set digest = $2 where id = $1', [id, digest]);
    expect(await holds()).toBe(true);
    await gateway.database.query(
      `update approvals set votes = jsonb_set(votes, '{0,by}', '"somebody"') where id = $1`,
      [id],
    );
    expect(await holds()).toBe(false);
  });

  it('are listed newest first, by page, status and job', async () => {
    await gateway.database.query('delete from approvals');
    const made = [
      await ticket(),
      await ticket({ status: 'expired' }),
      await ticket(),
      await ticket({ project: 'two' }),
    ];
    const list = async (query: string, key = one.viewer) => {
      const { body } = await gateway.call(`/v1/approvals?${query}`, { key });
      return {
        ids: (body['items'] as { id: string }[]).map(({ id }) => id),
        next: body['nextCursor'] as string | null,
      };
    };
    expect((await list('')).ids).toEqual([made[2], made[1], made[0]]);
    expect((await list('status=open')).ids).toEqual([made[2], made[0]]);
    expect((await list(`job=${made[1]?.replace('-release', '')}`)).ids).toEqual([made[1]]);
    const first = await list('limit=2');
    expect(first.ids).toEqual([made[2], made[1]]);
    expect(await list(`limit=2&cursor=${first.next}`)).toEqual({ ids: [made[0]], next: null });
    expect((await list('', two.viewer)).ids).toEqual([made[3]]);
    const odd = await gateway.call('/v1/approvals?status=maybe&cursor=x', { key: one.viewer });
    expect(problemOf(odd)).toMatchObject({ status: 422, code: 'ValidationFailed' });
  });
});

describe('a vote that comes as a record', () => {
  const codec = singleObjectCodec();
  let sent = 0;
  /** Sends one through the ingress: how many were passed on, and the codes of those that were not. */
  async function ask(key: string | null, payload: Partial<ApprovalVoteRequested>) {
    const requests = await gateway.bus.subscribe({ groupId: 'votes', topics: ['jobs.requests'], from: 'beginning' });
    const answers = await gateway.bus.subscribe({ groupId: `voter-${sent}`, topics: ['jobs.events'], from: 'end' });
    await answers.poll({ maxMessages: 1, maxWaitMs: 0 });
    const message = encodeMessage(codec, {
      topic: 'jobs.requests',
      key: 'one',
      type: 'ApprovalVoteRequested',
      payload: { approvalId: '', project: 'one', decision: 'approve', comment: null, digest: DIGEST, ...payload },
      envelope: { id: `vote-request-${sent++}`, source: '/other-system', timeMs: Date.now() },
    });
    const headers = key === null ? message.headers : { ...message.headers, authorization: `Bearer ${key}` };
    await gateway.bus.publish([{ ...message, headers }]);
    const ports = {
      gateway: gateway.services.gateway,
      approvals: gateway.services.approvals,
      identify: (k: string) => gateway.services.authenticator.identify(k),
      subscription: requests,
    };
    const messages = await requests.poll({ maxMessages: 10, maxWaitMs: 5_000 });
    const { votes } = await takeRequests(ports, messages, Date.now());
    const answered = (await answers.poll({ maxMessages: 10, maxWaitMs: 300 })).flatMap((received) => {
      const decoded = decodeMessage(codec, received);
      return decoded.ok && decoded.message.type === 'ApprovalVoteRefused' ? [decoded.message.payload.code] : [];
    });
    await requests.close();
    await answers.close();
    return { votes, answered };
  }

  it('is passed on like one by REST, and is the same vote', async () => {
    const id = await ticket();
    expect(await ask(one.approver, { approvalId: id, comment: 'by a pipeline' })).toEqual({ votes: 1, answered: [] });
    await vote(id, 'approve', one.approver);
    const signals = await signalsOf(id);
    expect(new Set(signals.map((message) => message.id))).toEqual(new Set([`vote:${id}:${ids['approver']}`]));
  });

  it('is refused with the codes of REST, and answered', async () => {
    const id = await ticket();
    const refused = async (key: string | null, change: Partial<ApprovalVoteRequested> = {}) =>
      (await ask(key, { approvalId: id, ...change })).answered;
    expect(await refused(null)).toEqual(['Unauthenticated']);
    expect(await refused(one.submitter)).toEqual(['Forbidden']);
    expect(await refused(two.approver)).toEqual(['NotFound']);
    expect(await refused(one.approver, { approvalId: 'job-none-release' })).toEqual(['NotFound']);
    expect(await refused(one.approver, { decision: 'perhaps' })).toEqual(['ValidationFailed']);
    expect(await refused(one.approver, { digest: 'e'.repeat(64) })).toEqual(['ApprovalDigestMismatch']);
    expect(await signalsOf(id)).toEqual([]);
  });

  it('is refused, and holds up none after it, when it has what REST would not take or no table holds', async () => {
    const id = await ticket();
    const nul = String.fromCodePoint(0);
    for (const [key, change] of [
      [one.approver, { approvalId: `${id}${nul}` }],
      [one.approver, { approvalId: '\ud800' }],
      [one.approver, { approvalId: '' }],
      [one.approver, { approvalId: 'x'.repeat(6_000) }],
      [one.approver, { comment: `fine${nul}` }],
      [one.approver, { comment: 'c'.repeat(2_001) }],
      [one.approver, { digest: `${nul}${DIGEST}` }],
      [gateway.adminKey, { project: `one${nul}` }],
    ] as const)
      expect(await ask(key, { approvalId: id, ...change })).toEqual({ votes: 0, answered: ['ValidationFailed'] });
    expect(await signalsOf(id)).toEqual([]);
    expect(await ask(one.approver, { approvalId: id, comment: 'c'.repeat(2_000) })).toEqual({ votes: 1, answered: [] });
  });
});
