/**
 * The few protobuf writers an ONNX model needs (https://protobuf.dev/programming-guides/encoding). Messages are plain chunks:
 * a field is its encoded bytes, a message the concatenation of its fields.
 */
export type Bytes = Uint8Array;

const WIRE_VARINT = 0;
const WIRE_LENGTH = 2;
const WIRE_FIXED32 = 5;

/** A field of type int32, int64 or enum; `value` must be a safe integer (negative ones take ten bytes, as protobuf wants). */
export const integerField = (field: number, value: number): Bytes =>
  join([varint(field * 8 + WIRE_VARINT), varint(value)]);

export function floatField(field: number, value: number): Bytes {
  const four = new Uint8Array(4);
  new DataView(four.buffer).setFloat32(0, value, true);
  return join([varint(field * 8 + WIRE_FIXED32), four]);
}

/** A field of type bytes or of an embedded message. */
export const bytesField = (field: number, value: Bytes): Bytes =>
  join([varint(field * 8 + WIRE_LENGTH), varint(value.length), value]);

export const stringField = (field: number, value: string): Bytes => bytesField(field, new TextEncoder().encode(value));

export const messageField = (field: number, parts: readonly Bytes[]): Bytes => bytesField(field, join(parts));

export function join(parts: readonly Bytes[]): Bytes {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

function varint(value: number): Bytes {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
