import type { FastifyReply } from 'fastify';
import type { EventRecord } from '../postgres/event-queries.ts';
import type { EventTail, Follower } from './event-tail.ts';

export const eventView = (event: EventRecord) => ({
  seq: event.seq,
  type: event.type,
  at: new Date(event.at_ms).toISOString(),
  state: event.state,
  data: event.data,
});

/** Milliseconds after which a browser that lost the stream comes back. */
const RETRY_MS = 1_000;

/**
 * Answers with server-sent events: one per fact, its id the seq, until the job has ended or either side closes. A comment every
 * `heartbeatMs` keeps proxies from closing a silent stream.
 */
export function streamEvents(
  reply: FastifyReply,
  tail: EventTail,
  options: { readonly workflowId: string; readonly afterSeq: number; readonly heartbeatMs: number },
): void {
  reply.hijack();
  const { raw } = reply;
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value);
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // nginx would hold events back.
    'x-accel-buffering': 'no',
  });
  raw.write(`retry: ${RETRY_MS}\n\n`);
  const heartbeat = setInterval(() => raw.write(': still here\n\n'), options.heartbeatMs);
  const follower: Follower = {
    workflowId: options.workflowId,
    afterSeq: options.afterSeq,
    ready: () => !raw.writableNeedDrain,
    deliver: (events) => {
      raw.write(
        events.map((e) => `id: ${e.seq}\nevent: ${e.type}\ndata: ${JSON.stringify(eventView(e))}\n\n`).join(''),
      );
    },
    end: () => {
      clearInterval(heartbeat);
      raw.end();
    },
  };
  raw.on('close', () => {
    clearInterval(heartbeat);
    tail.unfollow(follower);
  });
  // A client that is gone: 'close' follows.
  raw.on('error', () => undefined);
  tail.follow(follower);
}
