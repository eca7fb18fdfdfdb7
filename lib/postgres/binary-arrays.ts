/**
 * PostgreSQL array parameters in the binary wire format (src/backend/utils/adt/arrayfuncs.c, array_recv): node-postgres sends
 * a Buffer parameter in binary, and a text array costs 1.5 times the CPU of the whole statement (measured, docs/decisions/0002).
 * Elements may be null. One-dimensional only.
 */
const OID = { text: 25, int4: 23, int8: 20, bytea: 17, jsonb: 3802, timestamptz: 1184, bool: 16 } as const;

function encodeArray(oid: number, bodies: readonly (Uint8Array | null)[]): Buffer {
  let size = 20;
  let hasNull = 0;
  for (const body of bodies) {
    size += 4 + (body?.length ?? 0);
    if (body === null) hasNull = 1;
  }
  const out = Buffer.allocUnsafe(bodies.length === 0 ? 12 : size);
  out.writeInt32BE(bodies.length === 0 ? 0 : 1, 0);
  out.writeInt32BE(hasNull, 4);
  out.writeInt32BE(oid, 8);
  if (bodies.length === 0) return out;
  out.writeInt32BE(bodies.length, 12);
  out.writeInt32BE(1, 16);
  let at = 20;
  for (const body of bodies) {
    out.writeInt32BE(body === null ? -1 : body.length, at);
    at += 4;
    if (body !== null) {
      out.set(body, at);
      at += body.length;
    }
  }
  return out;
}

export const textArray = (values: readonly (string | null)[]): Buffer =>
  encodeArray(
    OID.text,
    values.map((v) => (v === null ? null : Buffer.from(v, 'utf8'))),
  );

export const byteaArray = (values: readonly (Uint8Array | null)[]): Buffer => encodeArray(OID.bytea, values);

/** Values are JSON texts; jsonb's binary form is a version byte 1 before the text. */
export const jsonbArray = (values: readonly (string | null)[]): Buffer =>
  encodeArray(
    OID.jsonb,
    values.map((v) => (v === null ? null : Buffer.concat([Buffer.of(1), Buffer.from(v, 'utf8')]))),
  );

export const int4Array = (values: readonly (number | null)[]): Buffer =>
  encodeArray(
    OID.int4,
    values.map((v) => {
      if (v === null) return null;
      const b = Buffer.allocUnsafe(4);
      b.writeInt32BE(v);
      return b;
    }),
  );

export const int8Array = (values: readonly (number | null)[]): Buffer =>
  encodeArray(
    OID.int8,
    values.map((v) => {
      if (v === null) return null;
      const b = Buffer.allocUnsafe(8);
      b.writeBigInt64BE(BigInt(v));
      return b;
    }),
  );

export const boolArray = (values: readonly (boolean | null)[]): Buffer =>
  encodeArray(
    OID.bool,
    values.map((v) => (v === null ? null : Buffer.of(v ? 1 : 0))),
  );
