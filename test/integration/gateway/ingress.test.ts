import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OutgoingMessage, Subscription } from '#lib/bus/port.ts';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { decodeMessage, encodeMessage, type Message } from '#lib/contracts/envelope.ts';
import type { JobRequested } from '#lib/contracts/generated/messages.ts';
import { takeRequests } from '../../../services/gateway/app/ingress.ts';
import { fineTune, type Harness, type ProjectKeys, startGateway } from './gateway-harness.ts';

const codec = singleObjectCodec();
let gateway: Harness;
let one: ProjectKeys;
let requests: Subscription;
let answers: Subscription;

beforeAll(async () => {
  gateway = await startGateway();
  one = await gateway.project('one');
  await gateway.project('two');
  requests = await gateway.bus.subscribe({ groupId: 'ingress', topics: ['jobs.requests'], from: 'beginning' });
  answers = await gateway.bus.subscribe({ groupId: 'producer', topics: ['jobs.events'], from: 'end' });
  await answers.poll({ maxMessages: 1, maxWaitMs: 0 });
});
afterAll(() => gateway.close());

let sent = 0;

/** A record as another system writes it: the body of POST /v1/jobs in the message's form. */
function record(
  body: Record<string, unknown>,
  change: Partial<JobRequested> & { key?: string | null; id?: string } = {},
): OutgoingMessage {
  const { key = one.submitter, id = `request-${sent++}`, ...payload } = change;
  const { type, idempotencyKey, spec, labels = {}, description = '', priority = null } = body;
  const message = encodeMessage(codec, {
    topic: 'jobs.requests',
    key: 'one',
    type: 'JobRequested',
    payload: {
      project: 'one',
      idempotencyKey: String(idempotencyKey),
      jobType: String(type),
      priority: priority as string | null,
      specJson: JSON.stringify(spec),
      labels: labels as Record<string, string>,
      description: String(description),
      ...payload,
    },
    envelope: { id, source: '/other-system', timeMs: Date.now() },
  });
  return key === null ? message : { ...message, headers: { ...message.headers, authorization: `Bearer ${key}` } };
}

/** Sends records through the ingress and returns what was answered about them. */
async function ask(...records: OutgoingMessage[]): Promise<{ answered: Message[]; counts: object }> {
  await gateway.bus.publish(records);
  const messages = await requests.poll({ maxMessages: 1_000, maxWaitMs: 5_000 });
  expect(messages).toHaveLength(records.length);
  const counts = await takeRequests(
    {
      gateway: gateway.services.gateway,
      identify: (k) => gateway.services.authenticator.identify(k),
      approvals: gateway.services.approvals,
      subscription: requests,
    },
    messages,
    Date.now(),
  );
  const answered = (await answers.poll({ maxMessages: 1_000, maxWaitMs: 500 })).flatMap((received) => {
    const decoded = decodeMessage(codec, received);
    return decoded.ok ? [decoded.message] : [];
  });
  return { answered, counts };
}

const rejected = ({ answered }: { answered: Message[] }) =>
  answered.flatMap((m) =>
    m.type === 'JobRejected' ? [{ code: m.payload.code, pointers: m.payload.fields.map((f) => f.pointer).sort() }] : [],
  );
const jobsOf = async (project: string): Promise<number> =>
  Number(
    (await gateway.database.query<{ n: number }>('select count(*) as n from jobs where project = $1', [project]))
      .rows[0]?.n,
  );

describe('a job that is asked for by a record', () => {
  it('is stored, started and answered with the request’s id', async () => {
    const { answered, counts } = await ask(
      record(fineTune({ idempotencyKey: 'first', priority: 'high' }), { id: 'r-1' }),
    );
    expect(counts).toEqual({ accepted: 1, repeated: 0, rejected: 0, votes: 0, unreadable: 0 });
    expect(answered).toMatchObject([
      { type: 'JobAccepted', key: 'one', payload: { requestId: 'r-1', idempotencyKey: 'first', jobType: 'fine_tune' } },
    ]);
    const { rows } = await gateway.database.query(
      `select key from bus_messages where topic = 'orchestrator.commands' and key = 'wf-fine_tune-one.first'`,
    );
    expect(rows).toHaveLength(1);
    const job = await gateway.call('/v1/jobs?project=one', { key: one.viewer });
    expect(job.body['items']).toMatchObject([{ idempotencyKey: 'first', priority: 'high', status: 'SUBMITTED' }]);
  });

  it('is the same job when REST asked for it before, or asks afterwards', async () => {
    const body = fineTune({ idempotencyKey: 'both-doors' });
    const byRest = await gateway.call('/v1/jobs', { key: one.submitter, body });
    await answers.poll({ maxMessages: 10, maxWaitMs: 500 });
    const { answered, counts } = await ask(record(body, { id: 'r-2' }));
    expect(counts).toMatchObject({ accepted: 0, repeated: 1 });
    expect(answered).toMatchObject([{ payload: { jobId: byRest.body['id'], requestId: 'r-2' } }]);

    const other = fineTune({ idempotencyKey: 'record-first' });
    const accepted = await ask(record(other));
    const again = await gateway.call('/v1/jobs', { key: one.submitter, body: other });
    expect(again.status).toBe(200);
    expect(accepted.answered).toMatchObject([{ payload: { jobId: again.body['id'] } }]);
  });

  it('is one job when the record comes again, alone or twice in a batch', async () => {
    const body = fineTune({ idempotencyKey: 'again' });
    const before = await jobsOf('one');
    const twice = await ask(record(body, { id: 'r-3' }), record(body, { id: 'r-4' }), record(body, { id: 'r-3' }));
    expect(twice.counts).toEqual({ accepted: 1, repeated: 2, rejected: 0, votes: 0, unreadable: 0 });
    expect(new Set(twice.answered.map((m) => ('jobId' in m.payload ? m.payload.jobId : null))).size).toBe(1);
    await ask(record(body, { id: 'r-3' }));
    expect(await jobsOf('one')).toBe(before + 1);
  });

  it('is refused with the code and the pointers that REST gives', async () => {
    const before = await jobsOf('one');
    const bad: [Record<string, unknown>, number][] = [
      [fineTune({ idempotencyKey: 'bad-1' }, { hyperparameters: { maxSteps: -1, learningRate: 0.1 } }), 422],
      [fineTune({ idempotencyKey: 'bad-2' }, { dataset: { name: 'absent' } }), 422],
      [fineTune({ idempotencyKey: 'bad-3', type: 'hpo' }), 422],
      [fineTune({ idempotencyKey: 'bad-4', type: 'nonsense' }), 422],
      [fineTune({ idempotencyKey: 'bad key' }), 422],
      [fineTune({ idempotencyKey: 'both-doors' }, { seed: 7 }), 409],
    ];
    for (const [body, status] of bad) {
      const byRest = await gateway.call('/v1/jobs', { key: one.submitter, body });
      expect(byRest.status).toBe(status);
      const [refusal] = rejected(await ask(record(body)));
      expect(refusal?.code).toBe(byRest.body['code']);
      expect(refusal?.pointers).toEqual((byRest.body.errors ?? []).map((e) => e.pointer).sort());
    }
    expect(await jobsOf('one')).toBe(before);
  });

  it('needs a key of the project with the right to submit', async () => {
    const body = fineTune({ idempotencyKey: 'whose' });
    const refusals = rejected(
      await ask(
        record(body, { key: null }),
        record(body, { key: `ty_${'x'.repeat(43)}` }),
        record(body, { key: one.viewer }),
        record(body, { project: 'two' }),
      ),
    );
    expect(refusals.map(({ code }) => code).sort()).toEqual([
      'Forbidden',
      'NotFound',
      'Unauthenticated',
      'Unauthenticated',
    ]);
  });

  it('is answered whatever its members hold: a megabyte, characters that no topic or table takes, no JSON', async () => {
    const body = fineTune({ idempotencyKey: 'odd' });
    const nul = String.fromCodePoint(0);
    const odd = await ask(
      record(body, { specJson: '{"dataset":' }),
      record(body, { idempotencyKey: 'x'.repeat(500_000) }),
      record(body, { idempotencyKey: `a${nul}b`, description: `d${nul}` }),
      record(body, { idempotencyKey: 'nul', description: `d${nul}`, labels: { [`l${nul}`]: 'v' } }),
      record(body, { project: `one${nul}`, key: gateway.adminKey }),
      record(body, { project: 'no-such-project', key: gateway.adminKey }),
    );
    expect(
      rejected(odd)
        .map(({ code }) => code)
        .sort(),
    ).toEqual(['MalformedJson', 'NotFound', 'NotFound', 'ValidationFailed', 'ValidationFailed', 'ValidationFailed']);
  });

  it('goes to the dead letters when it cannot be read, and the next one is taken', async () => {
    const good = record(fineTune({ idempotencyKey: 'after-garbage' }));
    const { counts } = await ask({ ...good, value: Buffer.from('not avro') }, good);
    expect(counts).toEqual({ accepted: 1, repeated: 0, rejected: 0, votes: 0, unreadable: 1 });
    const { rows } = await gateway.database.query(`select 1 from bus_messages where topic = 'trainyard.dlq'`);
    expect(rows).toHaveLength(1);
  });

  it('is reserved within the budget: of ten in one batch with money for three, three are accepted and seven are told why', async () => {
    const dry = await gateway.call('/v1/jobs?dryRun=true', { key: one.submitter, body: fineTune() });
    const estimate = Number(dry.body['gpuSecondsEstimate']);
    const poor = await gateway.project('poor', { gpuSecondsBudget: estimate * 3.5 });
    const batch = Array.from({ length: 10 }, (_, i) =>
      record(fineTune({ idempotencyKey: `p-${i}` }), { project: 'poor', key: poor.submitter }),
    );
    const outcome = await ask(...batch);
    expect(outcome.counts).toMatchObject({ accepted: 3, rejected: 7 });
    expect(rejected(outcome).map(({ code }) => code)).toEqual(Array<string>(7).fill('BudgetExhausted'));
    const { rows } = await gateway.database.query(
      `select p.gpu_seconds_reserved as reserved, (select count(*)::int from budget_ledger where project = 'poor') as ledger
       from projects p where id = 'poor'`,
    );
    expect(rows).toEqual([{ reserved: estimate * 3, ledger: 3 }]);
  });
});
