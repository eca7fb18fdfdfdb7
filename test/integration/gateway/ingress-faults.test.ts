import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { decodeMessage, encodeMessage, type Message } from '#lib/contracts/envelope.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { createLogger } from '#lib/service/logger.ts';
import { startIngress } from '../../../services/gateway/adapters/ingress-loop.ts';
import type { Gateway } from '../../../services/gateway/app/ports.ts';
import { eventually } from '../../support/eventually.ts';
import { fineTune, type Harness, type ProjectKeys, startGateway } from './gateway-harness.ts';

const codec = singleObjectCodec();
const logger = createLogger({ service: 'gateway', level: 'silent' });

let gateway: Harness;
let keys: ProjectKeys;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  gateway = await startGateway();
  keys = await gateway.project('one');
});
beforeEach(() => {
  failures = 0;
});
afterEach(async () => {
  for (const ingress of running.splice(0)) await ingress.stop();
});
afterAll(() => gateway.close());

/** The gateway's loop over a gateway that a test has made worse. */
async function ingressOf(worse: Partial<Gateway> = {}): Promise<{ stop(): Promise<void> }> {
  const { services, bus } = gateway;
  const ingress = await startIngress(
    bus,
    {
      gateway: { ...services.gateway, ...worse },
      identify: (key) => services.authenticator.identify(key),
      approvals: services.approvals,
    },
    { logger, count: () => undefined },
  );
  running.push(ingress);
  return ingress;
}

/** The store with members of the test's own; the others keep their object. */
function storeWith(change: (store: Gateway['jobs']) => Partial<Gateway['jobs']>): Gateway['jobs'] {
  const store = gateway.services.gateway.jobs;
  const changed = change(store);
  return new Proxy(store, {
    get: (target, name) => {
      const member = (Reflect.get(changed, name) ?? Reflect.get(target, name)) as unknown;
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
}

/** Failures that a test has made: one that was never met would prove nothing. */
let failures = 0;

function unavailable(): TrainyardError {
  failures++;
  return new TrainyardError('ServiceUnavailable', 'not now');
}

/** Fails the first time, then does what it is there for. */
function failingOnce<A extends unknown[], R>(work: (...args: A) => Promise<R>, when: 'before' | 'after') {
  let failed = false;
  return async (...args: A): Promise<R> => {
    const fails = !failed;
    failed = true;
    if (fails && when === 'before') throw unavailable();
    const result = await work(...args);
    if (fails) throw unavailable();
    return result;
  };
}

function record(id: string, body = fineTune({ idempotencyKey: id }), key = keys.submitter): OutgoingMessage {
  const { type, idempotencyKey, spec } = body;
  const message = encodeMessage(codec, {
    topic: 'jobs.requests',
    key: 'one',
    type: 'JobRequested',
    payload: {
      project: 'one',
      idempotencyKey: String(idempotencyKey),
      jobType: String(type),
      priority: null,
      specJson: JSON.stringify(spec),
      labels: {},
      description: '',
    },
    envelope: { id, source: '/other-system', timeMs: Date.now() },
  });
  return { ...message, headers: { ...message.headers, authorization: `Bearer ${key}` } };
}

/** What jobs.events says about requests whose id begins so. */
async function answersTo(prefix: string): Promise<Message[]> {
  const { rows } = await gateway.database.query<{ headers: string; key: string; value: Buffer }>(
    `select headers, key, value from bus_messages where topic = 'jobs.events' order by appended_at_ms, "offset"`,
  );
  return rows.flatMap((row) => {
    const headers = JSON.parse(row.headers) as Record<string, string>;
    const decoded = decodeMessage(codec, { ...row, headers, topic: 'jobs.events', partition: 0, offset: 0 });
    if (!decoded.ok) throw new Error(decoded.reason);
    const { requestId } = decoded.message.payload as { requestId?: string | null };
    return requestId?.startsWith(prefix) === true ? [decoded.message] : [];
  });
}

const jobsOf = async (prefix: string): Promise<number> =>
  (
    await gateway.database.query<{ n: number }>(
      'select count(*)::int as n from jobs where project = $1 and idempotency_key like $2',
      ['one', `${prefix}%`],
    )
  ).rows[0]?.n ?? 0;

const deadLetters = async (): Promise<number> =>
  (
    await gateway.database.query<{ n: number }>(
      `select count(*)::int as n from bus_messages where topic = 'trainyard.dlq'`,
    )
  ).rows[0]?.n ?? 0;

/** Each request is answered, by answers of one kind that name one job. */
async function expectAnswered(prefix: string, count: number, type: Message['type']): Promise<void> {
  await eventually(
    async () => {
      const answers = await answersTo(prefix);
      const byRequest = Map.groupBy(answers, ({ payload }) => (payload as { requestId: string }).requestId);
      expect(byRequest.size).toBe(count);
      for (const own of byRequest.values()) {
        expect(new Set(own.map((answer) => answer.type))).toEqual(new Set([type]));
        expect(new Set(own.map(({ payload }) => (payload as { jobId?: string }).jobId)).size).toBe(1);
      }
    },
    { withinMs: 20_000 },
  );
}

describe('requests by record, when something fails in the middle', () => {
  it('whose transaction cannot be made are taken again', async () => {
    await ingressOf({
      jobs: storeWith((store) => ({ insertAll: failingOnce(store.insertAll.bind(store), 'before') })),
    });
    await gateway.bus.publish([record('tx-1'), record('tx-2')]);
    await expectAnswered('tx-', 2, 'JobAccepted');
    expect(await jobsOf('tx-')).toBe(2);
    expect(failures).toBe(1);
  });

  it('whose transaction was made although its answer was lost are one job each', async () => {
    await ingressOf({ jobs: storeWith((store) => ({ insertAll: failingOnce(store.insertAll.bind(store), 'after') })) });
    await gateway.bus.publish([record('lost-1'), record('lost-2')]);
    await expectAnswered('lost-', 2, 'JobAccepted');
    expect(await jobsOf('lost-')).toBe(2);
    expect(failures).toBe(1);
  });

  it('whose refusals could not be published are refused again', async () => {
    await ingressOf({ jobs: storeWith((store) => ({ publish: failingOnce(store.publish.bind(store), 'before') })) });
    await gateway.bus.publish([record('no-1', fineTune({ idempotencyKey: 'no-1' }, { dataset: { name: 'absent' } }))]);
    await expectAnswered('no-', 1, 'JobRejected');
    expect(await jobsOf('no-')).toBe(0);
    expect(failures).toBe(1);
  });

  it('wait for a schema registry that is away, and do not go to the dead letters', async () => {
    const before = await deadLetters();
    const prepare = failingOnce((values: readonly Uint8Array[]) => codec.prepare(values), 'before');
    await ingressOf({ codec: { ...codec, prepare } });
    await gateway.bus.publish([record('reg-1')]);
    await expectAnswered('reg-', 1, 'JobAccepted');
    expect(await deadLetters()).toBe(before);
    expect(failures).toBe(1);
  });

  it('are taken over from a gateway that stops by another, each once', async () => {
    const first = await ingressOf();
    await ingressOf();
    const records = Array.from({ length: 120 }, (_, n) => ({ ...record(`two-${n}`), partition: n % 8 }));
    await gateway.bus.publish(records.slice(0, 60));
    await eventually(async () => expect(await jobsOf('two-')).toBeGreaterThan(0));
    await gateway.bus.publish(records.slice(60));
    running.splice(running.indexOf(first), 1);
    await first.stop();
    await expectAnswered('two-', 120, 'JobAccepted');
    expect(await jobsOf('two-')).toBe(120);
  });
});

describe('requests by record, beside REST', () => {
  it('that race with REST for the same idempotency key are one job', async () => {
    await ingressOf();
    const bodies = Array.from({ length: 20 }, (_, n) => fineTune({ idempotencyKey: `race-${n}` }));
    const byRest = bodies.map((body) => gateway.call('/v1/jobs', { key: keys.submitter, body }));
    await gateway.bus.publish(bodies.map((body, n) => record(`race-${n}`, body)));
    const ids = (await Promise.all(byRest)).map(({ body }) => body['id']);
    await expectAnswered('race-', 20, 'JobAccepted');
    const answers = await answersTo('race-');
    expect(new Set(answers.map(({ payload }) => (payload as { jobId: string }).jobId))).toEqual(new Set(ids));
    expect(await jobsOf('race-')).toBe(20);
  });

  it('may use the key of a request that was refused, once they are right', async () => {
    await ingressOf();
    await gateway.bus.publish([
      record('fix-1', fineTune({ idempotencyKey: 'fix' }, { dataset: { name: 'absent' } })),
      record('fix-2', fineTune({ idempotencyKey: 'fix' })),
    ]);
    await expectAnswered('fix-1', 1, 'JobRejected');
    await expectAnswered('fix-2', 1, 'JobAccepted');
  });

  it('are refused once their key is revoked, five seconds later at most', async () => {
    await ingressOf();
    const made = await gateway.call('/v1/projects/one/keys', { body: { role: 'submitter' } });
    const key = String(made.body['key']);
    await gateway.bus.publish([record('rev-a', fineTune({ idempotencyKey: 'rev-a' }), key)]);
    await expectAnswered('rev-a', 1, 'JobAccepted');
    const revoked = await gateway.call(`/v1/projects/one/keys/${String(made.body['id'])}`, { method: 'DELETE' });
    expect(revoked.status).toBeLessThan(300);
    let tries = 0;
    await eventually(
      async () => {
        const id = `rev-b${tries++}`;
        await gateway.bus.publish([record(id, fineTune({ idempotencyKey: id }), key)]);
        const answer = await eventually(async () => (await answersTo(id))[0] ?? false);
        expect(answer.payload).toMatchObject({ code: 'Unauthenticated' });
      },
      { withinMs: 7_000, everyMs: 500 },
    );
  });
});
