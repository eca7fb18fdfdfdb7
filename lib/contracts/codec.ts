import avro from 'avsc';
import { FORMER_SCHEMAS, MESSAGE_SCHEMAS, type MessageTypes } from './generated/messages.ts';
import type { MessageType } from './topics.ts';

/**
 * Bytes of a payload and back. The embedded bus uses Avro single-object encoding (Avro 1.12 specification, "Single-object
 * encoding"): C3 01, the little-endian CRC-64-AVRO fingerprint of the writer's schema, the body.
 */
export interface Codec {
  encode<T extends MessageType>(type: T, payload: MessageTypes[T]): Buffer;
  /** Throws `UnknownFingerprint` or what avsc throws for bytes that do not fit the schema. */
  decode(value: Uint8Array): { type: MessageType; payload: MessageTypes[MessageType] };
}

/** The schema that wrote these bytes is not one of ours. */
export class UnknownFingerprint extends Error {}

const HEADER_BYTES = 10;

interface Reader {
  readonly type: MessageType;
  readonly read: (body: Buffer) => unknown;
}

/**
 * A codec over the schemas of this release; it also reads what former releases wrote, so that messages in flight survive an upgrade.
 * Stateless after construction; build one per process. `formerSchemas` is for tests.
 */
export function singleObjectCodec(formerSchemas: readonly string[] = FORMER_SCHEMAS): Codec {
  const writers = new Map<MessageType, { avroType: avro.Type; header: Buffer }>();
  const readers = new Map<string, Reader>();
  for (const [name, text] of Object.entries(MESSAGE_SCHEMAS)) {
    const type = name as MessageType;
    const avroType = avro.Type.forSchema(JSON.parse(text) as avro.Schema);
    const fingerprint = fingerprintOf(avroType);
    writers.set(type, { avroType, header: Buffer.concat([Buffer.of(0xc3, 0x01), fingerprint]) });
    readers.set(fingerprint.toString('hex'), { type, read: (body) => avroType.fromBuffer(body) });
  }
  for (const text of formerSchemas) addFormer(readers, writers, text);
  return {
    encode(type, payload) {
      const writer = writers.get(type);
      if (writer === undefined) throw new UnknownFingerprint(`no schema for ${type}`);
      return Buffer.concat([writer.header, writer.avroType.toBuffer(payload)]);
    },
    decode(value) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      if (bytes.length < HEADER_BYTES || bytes[0] !== 0xc3 || bytes[1] !== 0x01)
        throw new Error('not an Avro single-object message (marker C3 01 missing)');
      const fingerprint = bytes.toString('hex', 2, HEADER_BYTES);
      const reader = readers.get(fingerprint);
      if (reader === undefined) throw new UnknownFingerprint(`unknown schema fingerprint ${fingerprint}`);
      const payload = reader.read(bytes.subarray(HEADER_BYTES)) as MessageTypes[MessageType];
      return { type: reader.type, payload };
    },
  };
}

/** A schema of a former release, read as today's type of its name (Avro specification, "Schema resolution"). */
function addFormer(
  readers: Map<string, Reader>,
  writers: ReadonlyMap<MessageType, { avroType: avro.Type }>,
  text: string,
): void {
  const schema = JSON.parse(text) as { name: string };
  const type = schema.name as MessageType;
  const today = writers.get(type)?.avroType;
  // A message that no longer exists: nobody is left to read it, it goes to the dead letters.
  if (today === undefined) return;
  const former = avro.Type.forSchema(schema as unknown as avro.Schema);
  const fingerprint = fingerprintOf(former).toString('hex');
  if (readers.has(fingerprint)) return;
  const resolver = today.createResolver(former);
  readers.set(fingerprint, { type, read: (body) => today.fromBuffer(body, resolver) });
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
