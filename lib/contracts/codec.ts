import avro from 'avsc';
import { FORMER_SCHEMAS, MESSAGE_SCHEMAS, type MessageTypes } from './generated/messages.ts';
import type { MessageType } from './topics.ts';

/**
 * Bytes of a payload and back. The embedded bus uses Avro single-object encoding (Avro 1.12 specification, "Single-object
 * encoding"): C3 01, the little-endian CRC-64-AVRO fingerprint of the writer's schema, the body. Kafka has the schema registry's framing
 * (`lib/messaging/registry-codec.ts`).
 */
export interface Codec {
  encode<T extends MessageType>(type: T, payload: MessageTypes[T]): Buffer;
  /** Throws `UnknownFingerprint` or what avsc throws for bytes that do not fit the schema. */
  decode(value: Uint8Array): { type: MessageType; payload: MessageTypes[MessageType] };
  /**
   * Before a batch is decoded: learns the schemas of other releases that it was written with. Throws `ServiceUnavailable` when they cannot be
   * asked for now, so that the batch is taken again instead of going to the dead letters.
   */
  prepare(values: readonly Uint8Array[]): Promise<void>;
}

/** The schema that wrote these bytes is not one of ours. */
export class UnknownFingerprint extends Error {}

/** Reads what one writer's schema wrote, as today's type of its name. */
export interface PayloadReader {
  readonly type: MessageType;
  readonly read: (body: Buffer) => MessageTypes[MessageType];
}

/** Today's messages as Avro types, and readers of what other releases write. */
export class PayloadSchemas {
  readonly #types = new Map<MessageType, avro.Type>();

  constructor() {
    for (const [name, text] of Object.entries(MESSAGE_SCHEMAS))
      this.#types.set(name as MessageType, avro.Type.forSchema(JSON.parse(text) as avro.Schema));
  }

  names(): MessageType[] {
    return [...this.#types.keys()];
  }

  body<T extends MessageType>(type: T, payload: MessageTypes[T]): Buffer {
    const avroType = this.#types.get(type);
    if (avroType === undefined) throw new UnknownFingerprint(`no schema for ${type}`);
    return avroType.toBuffer(payload);
  }

  /** Little-endian CRC-64-AVRO of today's schema. */
  fingerprint(type: MessageType): Buffer {
    const avroType = this.#types.get(type);
    if (avroType === undefined) throw new UnknownFingerprint(`no schema for ${type}`);
    return fingerprintOf(avroType);
  }

  /**
   * A reader for a writer's schema (JSON text), by Avro's schema resolution. Null for a message that no longer exists: nobody is left to read
   * it, it goes to the dead letters. Throws what avsc throws for a schema that today's cannot read.
   */
  reader(writerSchema: string): (PayloadReader & { readonly fingerprint: Buffer }) | null {
    const schema = JSON.parse(writerSchema) as { name: string };
    const type = schema.name as MessageType;
    const today = this.#types.get(type);
    if (today === undefined) return null;
    const writer = avro.Type.forSchema(schema as unknown as avro.Schema);
    const fingerprint = fingerprintOf(writer);
    // Without a resolver where none is needed: most messages are of this release, and it costs a third of the decoding.
    const resolver = fingerprint.equals(fingerprintOf(today)) ? undefined : today.createResolver(writer);
    const read = (body: Buffer): MessageTypes[MessageType] =>
      today.fromBuffer(body, resolver) as MessageTypes[MessageType];
    return { type, read, fingerprint };
  }
}

const HEADER_BYTES = 10;

/**
 * A codec over the schemas of this release; it also reads what former releases wrote, so that messages in flight survive an upgrade.
 * Stateless after construction; build one per process. `formerSchemas` is for tests.
 */
export function singleObjectCodec(formerSchemas: readonly string[] = FORMER_SCHEMAS): Codec {
  const schemas = new PayloadSchemas();
  const headers = new Map<MessageType, Buffer>();
  const readers = new Map<string, PayloadReader>();
  const add = (text: string): void => {
    const reader = schemas.reader(text);
    if (reader !== null) readers.set(reader.fingerprint.toString('hex'), reader);
  };
  for (const text of formerSchemas) add(text);
  for (const text of Object.values(MESSAGE_SCHEMAS)) add(text);
  for (const type of schemas.names())
    headers.set(type, Buffer.concat([Buffer.of(0xc3, 0x01), schemas.fingerprint(type)]));
  return {
    encode(type, payload) {
      const body = schemas.body(type, payload);
      return Buffer.concat([headers.get(type) ?? Buffer.alloc(0), body]);
    },
    decode(value) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      if (bytes.length < HEADER_BYTES || bytes[0] !== 0xc3 || bytes[1] !== 0x01)
        throw new Error('not an Avro single-object message (marker C3 01 missing)');
      const fingerprint = bytes.toString('hex', 2, HEADER_BYTES);
      const reader = readers.get(fingerprint);
      if (reader === undefined) throw new UnknownFingerprint(`unknown schema fingerprint ${fingerprint}`);
      return { type: reader.type, payload: reader.read(bytes.subarray(HEADER_BYTES)) };
    },
    prepare: async () => undefined,
  };
}

const fingerprintOf = (avroType: avro.Type): Buffer =>
  crc64Avro(Buffer.from(JSON.stringify(avroType.schema()), 'utf8'));

const CRC64_EMPTY = 0xc15d213aa4d7a795n;

/** CRC-64-AVRO of a schema's parsing canonical form, little-endian (Avro specification, "Schema fingerprints"). */
export function crc64Avro(bytes: Uint8Array): Buffer {
  const table: bigint[] = [];
  for (let i = 0; i < 256; i++) {
    let fp = BigInt(i);
    for (let j = 0; j < 8; j++) fp = (fp >> 1n) ^ (CRC64_EMPTY & -(fp & 1n));
    table.push(BigInt.asUintN(64, fp));
  }
  let fingerprint = CRC64_EMPTY;
  for (const byte of bytes)
    fingerprint = (fingerprint >> 8n) ^ (table[Number((fingerprint ^ BigInt(byte)) & 0xffn)] ?? 0n);
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt.asUintN(64, fingerprint));
  return out;
}
