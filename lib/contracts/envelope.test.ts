import { describe, expect, it } from 'vitest';
import type { OutgoingMessage, ReceivedMessage } from '#lib/bus/port.ts';
import { prepareMessages } from '#lib/bus/message-arrays.ts';
import { singleObjectCodec } from './codec.ts';
import { deadLetter, decodeMessage, encodeMessage } from './envelope.ts';
import type { DeadLetter } from './generated/messages.ts';

/** What the bus takes, payload, key and headers together. */
const MAX_MESSAGE_BYTES = 1_048_576;
const codec = singleObjectCodec();
const envelope = { id: 'm-1', source: '/test', timeMs: Date.UTC(2026, 0, 2) };
const cancel = encodeMessage(codec, {
  topic: 'orchestrator.commands',
  key: 'wf-1',
  type: 'CancelJob',
  payload: { workflowId: 'wf-1', requestedBy: 'me', reason: null },
  envelope,
});
const received = (change: Partial<ReceivedMessage> = {}): ReceivedMessage => ({
  ...cancel,
  partition: 3,
  offset: 17,
  ...change,
});
const without = (header: string): ReceivedMessage =>
  received({ headers: Object.fromEntries(Object.entries(cancel.headers).filter(([name]) => name !== header)) });
const letterOf = (message: OutgoingMessage): DeadLetter => codec.decode(message.value).payload as DeadLetter;

describe('a message', () => {
  it('travels with the headers of CloudEvents', () => {
    expect(cancel.headers).toEqual({
      ce_specversion: '1.0',
      ce_id: 'm-1',
      ce_type: 'CancelJob',
      ce_source: '/test',
      ce_subject: 'wf-1',
      ce_time: '2026-01-02T00:00:00.000Z',
    });
  });

  it('arrives as it was sent, trace context included', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const sent = encodeMessage(codec, {
      topic: 'lanes.control',
      key: 'wf-1',
      partition: 0,
      type: 'StopActivity',
      payload: { workflowId: 'wf-1', activityId: 'a', epoch: 1, reason: 'Revoked' },
      envelope: { ...envelope, traceparent },
    });
    expect(sent.partition).toBe(0);
    expect(decodeMessage(codec, { ...sent, partition: 0, offset: 0 })).toEqual({
      ok: true,
      message: {
        ...envelope,
        traceparent,
        type: 'StopActivity',
        key: 'wf-1',
        payload: { workflowId: 'wf-1', activityId: 'a', epoch: 1, reason: 'Revoked' },
      },
    });
  });

  it('is not sent to a topic that does not carry its type', () => {
    const wrong = { ...cancelOf('jobs.events' as never) };
    expect(() => encodeMessage(codec, wrong)).toThrow(/jobs.events does not carry CancelJob/);
  });

  it.each(['ce_id', 'ce_type'])('without header %s is refused', (header) => {
    expect(decodeMessage(codec, without(header))).toMatchObject({
      ok: false,
      code: 'MissingHeader',
      reason: expect.stringContaining(header),
    });
  });

  it('with an empty id or without a key is refused', () => {
    const empty = received({ headers: { ...cancel.headers, ce_id: '' } });
    expect(decodeMessage(codec, empty)).toMatchObject({ code: 'MissingHeader' });
    expect(decodeMessage(codec, received({ key: null }))).toMatchObject({ code: 'MissingHeader' });
  });

  it.each(['ce_source', 'ce_time', 'ce_subject', 'ce_specversion'])('without header %s can be read', (header) => {
    expect(decodeMessage(codec, without(header))).toMatchObject({ ok: true });
  });

  it('with a time that is none has the time 0', () => {
    const decoded = decodeMessage(codec, received({ headers: { ...cancel.headers, ce_time: 'yesterday' } }));
    expect(decoded).toMatchObject({ ok: true, message: { timeMs: 0 } });
  });

  it('on a topic that does not carry it is refused, on one that nobody knows too', () => {
    for (const topic of ['jobs.events', 'nowhere', 'constructor', '__proto__'])
      expect(decodeMessage(codec, received({ topic }))).toMatchObject({ ok: false, code: 'UnknownSchema' });
  });

  it('whose header names another type of the topic than its bytes is refused', () => {
    const swapped = received({ headers: { ...cancel.headers, ce_type: 'StartWorkflow' } });
    expect(decodeMessage(codec, swapped)).toMatchObject({ code: 'UndecodableMessage' });
  });

  it('with unknown, wrong or missing bytes is refused for what it is', () => {
    const unknown = Buffer.from(cancel.value);
    unknown.fill(1, 2, 10);
    expect(decodeMessage(codec, received({ value: unknown }))).toMatchObject({ code: 'UnknownSchema' });
    for (const value of [Buffer.of(), Buffer.from('hello'), Buffer.from(cancel.value).subarray(0, 12)])
      expect(decodeMessage(codec, received({ value }))).toMatchObject({ code: 'UndecodableMessage' });
  });

  it('above the limit is refused before anybody reads it', () => {
    const value = Buffer.alloc(MAX_MESSAGE_BYTES + 1);
    expect(decodeMessage(codec, received({ value }))).toMatchObject({ code: 'MessageTooLarge' });
  });
});

function cancelOf(topic: 'orchestrator.commands') {
  const payload = { workflowId: 'wf-1', requestedBy: 'me', reason: null };
  return { topic, key: 'wf-1', type: 'CancelJob' as const, payload, envelope };
}

describe('a dead letter', () => {
  const refusal = { code: 'UndecodableMessage' as const, reason: 'no good' };

  it('holds the raw bytes, the reason and the position', () => {
    const letter = deadLetter(codec, received({ value: Buffer.of(1, 2, 3) }), refusal, 'me', 99);
    expect(letterOf(letter)).toEqual({
      topic: 'orchestrator.commands',
      partition: 3,
      offset: 17,
      key: 'wf-1',
      headers: cancel.headers,
      value: Buffer.of(1, 2, 3),
      code: 'UndecodableMessage',
      reason: 'no good',
      consumer: 'me',
      atMs: 99,
    });
    expect(letter.topic).toBe('trainyard.dlq');
  });

  it('of the same message for the same consumer is the same letter', () => {
    const ids = [1, 2].map((atMs) => deadLetter(codec, received(), refusal, 'me', atMs).headers['ce_id']);
    expect(ids).toEqual(['dlq:me:orchestrator.commands/3/17', 'dlq:me:orchestrator.commands/3/17']);
  });

  it.each([
    ['bytes at the limit', { value: Buffer.alloc(MAX_MESSAGE_BYTES) }, 'short'],
    ['many headers beside many bytes', { value: Buffer.alloc(900_000), headers: { h: 'x'.repeat(140_000) } }, 'short'],
    ['headers at the limit', { headers: { ce_id: 'id', huge: 'ä'.repeat(500_000) } }, 'short'],
    ['headers of control characters', { value: Buffer.alloc(940_000), headers: { h: '\u0001'.repeat(100_000) } }, 'x'],
    ['a reason that quotes it all', { value: Buffer.alloc(980_000) }, 'x'.repeat(1_000_000)],
  ])('fits the bus whatever it is about: %s', (_, change, reason) => {
    const letter = deadLetter(codec, received(change), { ...refusal, reason }, 'me', 0);
    expect(() => prepareMessages([letter], () => 1)).not.toThrow();
    expect(letterOf(letter).reason.length).toBeLessThanOrEqual(4_096);
  });

  it('about a message without headers or key can be written', () => {
    const letter = deadLetter(codec, received({ headers: {}, key: null }), refusal, 'me', 0);
    expect(letterOf(letter)).toMatchObject({ headers: {}, key: null });
  });
});
