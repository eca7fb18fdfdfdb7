import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fineTune, type Harness, type ProjectKeys, problemOf, startGateway } from './gateway-harness.ts';

let gateway: Harness;
let one: ProjectKeys;
let origin: string;
beforeAll(async () => {
  gateway = await startGateway({ heartbeatMs: 50 });
  one = await gateway.project('one');
  origin = await gateway.app.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => gateway.close());

async function newJob(key: string): Promise<{ id: string; workflowId: string }> {
  const answer = await gateway.call('/v1/jobs', { key: one.submitter, body: fineTune({ idempotencyKey: key }) });
  return { id: String(answer.body['id']), workflowId: `wf-fine_tune-one.${key}` };
}
const append = (workflowId: string, from: number, to: number) =>
  gateway.database.query(
    `insert into events (workflow_id, seq, type, data, message_id, at_ms, state)
     select $1, s, 'Step', jsonb_build_object('n', s), 'm' || s, 1000 + s, 'state-' || s from generate_series($2::int, $3::int) s`,
    [workflowId, from, to],
  );
const finish = (id: string) => gateway.database.query(`update jobs set status = 'COMPLETED' where id = $1`, [id]);

interface Frame {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly comment?: boolean;
}

/** Opens a stream; `next` gives its frames one by one, null at the end. */
async function open(id: string, headers: Record<string, string> = {}, query = '') {
  const abort = new AbortController();
  const response = await fetch(`${origin}/v1/jobs/${id}/events${query}`, {
    headers: { authorization: `Bearer ${one.viewer}`, accept: 'text/event-stream', ...headers },
    signal: abort.signal,
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  const next = async (): Promise<Frame | null> => {
    for (;;) {
      const end = buffer.indexOf('\n\n');
      if (end >= 0) {
        const lines = buffer.slice(0, end).split('\n');
        buffer = buffer.slice(end + 2);
        if (lines[0]?.startsWith(':') === true) return { comment: true };
        return Object.fromEntries(
          lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
        );
      }
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) return null;
      buffer += value;
    }
  };
  const nextEvent = async (): Promise<Frame | null> => {
    for (;;) {
      const frame = await next();
      if (frame === null || frame.event !== undefined) return frame;
    }
  };
  const ids = async (): Promise<number[]> => {
    const seen: number[] = [];
    for (let frame = await nextEvent(); frame !== null; frame = await nextEvent()) seen.push(Number(frame.id));
    return seen;
  };
  return { response, next, nextEvent, ids, close: () => abort.abort() };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('the event log as pages', () => {
  it('comes in seq order after the seq that was seen', async () => {
    const { id, workflowId } = await newJob('pages');
    await append(workflowId, 1, 5);
    const page = async (query: string) => {
      const { body } = await gateway.call(`/v1/jobs/${id}/events${query}`, { key: one.viewer });
      return { seqs: (body['items'] as { seq: number }[]).map(({ seq }) => seq), next: body['nextAfter'] };
    };
    expect(await page('?limit=2')).toEqual({ seqs: [1, 2], next: 2 });
    expect(await page('?limit=2&after=4')).toEqual({ seqs: [5], next: null });
    expect(problemOf(await gateway.call(`/v1/jobs/${id}/events?after=-1`, { key: one.viewer }))).toMatchObject({
      status: 422,
      pointers: ['/query/after'],
    });
    const { body } = await gateway.call(`/v1/jobs/${id}/events?limit=1`, { key: one.viewer });
    expect(body['items']).toEqual([
      { seq: 1, type: 'Step', at: '1970-01-01T00:00:01.001Z', state: 'state-1', data: { n: 1 } },
    ]);
  });
});

describe('the event log as a stream', () => {
  it('delivers what is there, then what comes, and ends with the job', async () => {
    const { id, workflowId } = await newJob('live');
    await append(workflowId, 1, 2);
    const stream = await open(id);
    expect(stream.response.headers.get('content-type')).toContain('text/event-stream');
    expect((await stream.nextEvent())?.id).toBe('1');
    expect(await stream.nextEvent()).toMatchObject({ id: '2', event: 'Step' });
    await append(workflowId, 3, 3);
    const third = await stream.nextEvent();
    expect(JSON.parse(third?.data ?? '')).toMatchObject({ seq: 3, type: 'Step', data: { n: 3 } });
    await append(workflowId, 4, 4);
    await finish(id);
    expect(await stream.ids()).toEqual([4]);
  });

  it('continues after Last-Event-ID, without a gap or a repetition', async () => {
    const { id, workflowId } = await newJob('resume');
    await append(workflowId, 1, 10);
    const first = await open(id);
    for (let i = 0; i < 4; i++) await first.nextEvent();
    first.close();
    await append(workflowId, 11, 12);
    await finish(id);
    expect(await (await open(id, { 'last-event-id': '4' })).ids()).toEqual(range(5, 12));
    expect(await (await open(id, {}, '?after=11')).ids()).toEqual([12]);
    expect(await (await open(id, { 'last-event-id': '12' })).ids()).toEqual([]);
  });

  it('delivers a long log whole and in order', async () => {
    const { id, workflowId } = await newJob('long');
    await append(workflowId, 1, 1_234);
    await finish(id);
    expect(await (await open(id)).ids()).toEqual(range(1, 1_234));
  });

  it('sends comments while nothing happens', async () => {
    const { id } = await newJob('quiet');
    const stream = await open(id);
    let comments = 0;
    while (comments < 3) if ((await stream.next())?.comment === true) comments++;
    stream.close();
    expect(comments).toBe(3);
  });

  it('serves many clients of many jobs', async () => {
    const jobs = await Promise.all(range(1, 10).map((i) => newJob(`many-${i}`)));
    const streams = await Promise.all(jobs.flatMap(({ id }) => range(1, 5).map(() => open(id))));
    await Promise.all(jobs.map(({ workflowId }, i) => append(workflowId, 1, i + 1)));
    await Promise.all(jobs.map(({ id }) => finish(id)));
    const seen = await Promise.all(streams.map((stream) => stream.ids()));
    expect(seen).toEqual(jobs.flatMap((_, i) => range(1, 5).map(() => range(1, i + 1))));
  });

  it('of an unknown job, with another project’s key, or after an id that is none is a problem and no stream', async () => {
    const { id } = await newJob('closed');
    const two = await gateway.project('two');
    for (const [path, key, headers, status] of [
      ['/v1/jobs/job-none/events', one.viewer, {}, 404],
      [`/v1/jobs/${id}/events`, two.viewer, {}, 404],
      [`/v1/jobs/${id}/events`, one.viewer, { 'last-event-id': 'x' }, 422],
    ] as const) {
      const answer = await gateway.call(path, { key, headers: { accept: 'text/event-stream', ...headers } });
      expect(answer.status).toBe(status);
      expect(answer.headers['content-type']).toContain('application/problem+json');
    }
  });

  it('ends when the gateway stops', async () => {
    const { id, workflowId } = await newJob('stopping');
    await append(workflowId, 1, 1);
    const stream = await open(id);
    expect((await stream.nextEvent())?.id).toBe('1');
    gateway.services.tail.close();
    expect(await stream.ids()).toEqual([]);
  });
});
