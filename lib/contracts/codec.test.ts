import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Codec, crc64Avro, singleObjectCodec, UnknownFingerprint } from './codec.ts';
import { MESSAGE_SCHEMAS, type MessageTypes } from './generated/messages.ts';
import type { MessageType } from './topics.ts';

type Schema =
  | string
  | readonly Schema[]
  | {
      readonly type: Schema;
      readonly items?: Schema;
      readonly values?: Schema;
      readonly symbols?: readonly string[];
      readonly fields?: readonly { readonly name: string; readonly type: Schema }[];
    };

const text = fc.string({ unit: 'binary' });
const PRIMITIVES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  null: fc.constant(null),
  string: text,
  int: fc.integer(),
  // avsc zigzags in doubles: beyond 2^52 (the year 144,683 in ms) a negative long comes back wrong.
  long: fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }),
  double: fc.double(),
  boolean: fc.boolean(),
  bytes: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
};

/** Any value of an Avro schema as our schemas use it. */
function valueOf(schema: Schema): fc.Arbitrary<unknown> {
  if (typeof schema === 'string') return PRIMITIVES[schema] ?? fc.constant(undefined);
  if (Array.isArray(schema)) return fc.oneof(...(schema as readonly Schema[]).map(valueOf));
  const declared = schema as Exclude<Schema, string | readonly Schema[]>;
  switch (declared.type) {
    case 'record':
      return fc.record(Object.fromEntries((declared.fields ?? []).map((f) => [f.name, valueOf(f.type)])));
    case 'array':
      return fc.array(valueOf(declared.items ?? 'null'), { maxLength: 5 });
    case 'map':
      return fc.dictionary(
        text.filter((key) => key !== '__proto__'),
        valueOf(declared.values ?? 'null'),
        { noNullPrototype: true },
      );
    case 'enum':
      return fc.constantFrom(...(declared.symbols ?? []));
    default:
      return valueOf(declared.type);
  }
}

const types = Object.keys(MESSAGE_SCHEMAS) as MessageType[];
const payloadOf = <T extends MessageType>(type: T): fc.Arbitrary<MessageTypes[T]> =>
  valueOf(JSON.parse(MESSAGE_SCHEMAS[type]) as Schema) as fc.Arbitrary<MessageTypes[T]>;

const codec: Codec = singleObjectCodec();
const cancelJob = codec.encode('CancelJob', { workflowId: 'wf', requestedBy: 'me', reason: null });

describe('the codec', () => {
  it.each(types)('reads every %s as it was written', (type) => {
    fc.assert(
      fc.property(payloadOf(type), (payload) => {
        const decoded = codec.decode(codec.encode(type, payload));
        expect(decoded.type).toBe(type);
        expect(decoded.payload).toEqual(payload);
      }),
    );
  });

  it.each(types)('refuses %s that lost its end, at whatever byte', (type) => {
    const [payload] = fc.sample(payloadOf(type), { numRuns: 1, seed: 1 });
    if (payload === undefined) throw new Error('no sample');
    const bytes = codec.encode(type, payload);
    for (let length = 0; length < bytes.length; length++)
      expect(() => codec.decode(bytes.subarray(0, length))).toThrow(/truncated|marker/);
  });

  it('refuses bytes after the end: they are not what the writer wrote', () => {
    expect(() => codec.decode(Buffer.concat([cancelJob, Buffer.of(0)]))).toThrow(/trailing/);
  });

  it('reads bytes that lie inside a larger buffer', () => {
    const around = Buffer.concat([Buffer.from('xxx'), cancelJob, Buffer.from('yyy')]);
    const inside = new Uint8Array(around.buffer, around.byteOffset + 3, cancelJob.length);
    expect(codec.decode(inside)).toMatchObject({ type: 'CancelJob', payload: { workflowId: 'wf' } });
  });

  it('never takes any bytes for a message of another type, and throws errors only', () => {
    const outcomeOf = (bytes: Uint8Array): unknown => {
      try {
        return codec.decode(bytes).type;
      } catch (error) {
        return error instanceof Error ? 'refused' : error;
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
        expect(outcomeOf(noise)).toBe('refused');
        expect(['CancelJob', 'refused']).toContain(outcomeOf(Buffer.concat([cancelJob.subarray(0, 10), noise])));
      }),
    );
  });

  it('refuses bytes without the marker', () => {
    for (const bytes of [Buffer.of(), Buffer.from('{"json":1}  '), Buffer.from(cancelJob).fill(0, 0, 1)])
      expect(() => codec.decode(bytes)).toThrow(/marker C3 01/);
  });

  it('refuses a schema that it does not know, by its fingerprint', () => {
    const bytes = Buffer.from(cancelJob);
    bytes.fill(0xab, 2, 10);
    expect(() => codec.decode(bytes)).toThrow(UnknownFingerprint);
    expect(() => codec.decode(bytes)).toThrow(/abababababababab/);
  });

  it('refuses to write what is not of the type', () => {
    expect(() => codec.encode('CancelJob', { workflowId: 1 } as never)).toThrow(/invalid "string"/);
    expect(() => codec.encode('Nothing' as never, {} as never)).toThrow(UnknownFingerprint);
  });

  it('gives every type a fingerprint of its own', () => {
    const headers = types.map((type) => {
      const [payload] = fc.sample(payloadOf(type), { numRuns: 1, seed: 2 });
      return codec.encode(type, payload as never).toString('hex', 0, 10);
    });
    expect(new Set(headers).size).toBe(types.length);
    expect(headers.every((h) => h.startsWith('c301'))).toBe(true);
  });
});

describe('crc64Avro', () => {
  // Avro's own vectors, share/test/data/schema-tests.txt.
  it.each([
    ['"null"', 7195948357588979594n],
    ['"boolean"', -6970731678124411036n],
    ['"int"', 8247732601305521295n],
    ['"long"', -3434872931120570953n],
    ['"float"', 5583340709985441680n],
    ['"double"', -8181574048448539266n],
    ['"bytes"', 5746618253357095269n],
    ['"string"', -8142146995180207161n],
  ])('of %s is what Avro publishes', (schema, expected) => {
    expect(crc64Avro(Buffer.from(schema)).readBigInt64LE()).toBe(expected);
  });
});
