import avro from 'avsc';
import { describe, expect, it } from 'vitest';
import { crc64Avro, singleObjectCodec } from './codec.ts';
import { MESSAGE_SCHEMAS } from './generated/messages.ts';

describe('messages that a former release wrote', () => {
  const today = JSON.parse(MESSAGE_SCHEMAS.CancelJob) as { fields: { name: string }[] };
  // A release before the optional field `reason` existed.
  const former = { ...today, fields: today.fields.filter((field) => field.name !== 'reason') };
  const formerType = avro.Type.forSchema(former as unknown as avro.Schema);
  const body = formerType.toBuffer({ workflowId: 'wf-1', requestedBy: 'ann' });
  const fingerprint = crc64Avro(Buffer.from(JSON.stringify(formerType.schema())));
  const bytes = Buffer.concat([Buffer.of(0xc3, 0x01), fingerprint, body]);

  it('are read as today’s type, new fields with their defaults', () => {
    const { type, payload } = singleObjectCodec([JSON.stringify(former)]).decode(bytes);
    expect(type).toBe('CancelJob');
    expect({ ...payload }).toEqual({ workflowId: 'wf-1', requestedBy: 'ann', reason: null });
  });

  it('are refused by name of their fingerprint when the release is not known', () => {
    expect(() => singleObjectCodec([]).decode(bytes)).toThrow(fingerprint.toString('hex'));
  });
});
