import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import { type Codec, type PayloadReader, PayloadSchemas, UnknownFingerprint } from '#lib/contracts/codec.ts';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import type { MessageType } from '#lib/contracts/topics.ts';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';

export interface RegistrySettings {
  /** Base address of the Confluent-compatible interface, e.g. `http://host:8081` or `http://host:8080/apis/ccompat/v7`. */
  readonly url: string;
  readonly auth?: { readonly username: string; readonly password: string };
}

/** Confluent's framing: a zero byte, the schema's id (4 bytes, big endian), the body. */
const HEADER_BYTES = 5;

/** A registry on a busy machine answers within a second. */
const ANSWER_TIMEOUT_MS = 5_000;

/** An id that the registry does not know is asked for again after this: it may have been registered meanwhile. */
const UNKNOWN_FOR_MS = 30_000;

/** Subject of a message type: its full name, whatever topic it travels on (Confluent's RecordNameStrategy). */
export const subjectOf = (type: MessageType): string =>
  `${(JSON.parse(MESSAGE_SCHEMAS[type]) as { namespace: string }).namespace}.${type}`;

export const registryClient = ({ url, auth }: RegistrySettings): SchemaRegistry =>
  new SchemaRegistry({
    host: url,
    ...(auth === undefined ? {} : { auth }),
    retry: { retries: 2, maxRetryTimeInSecs: 2 },
  });

/**
 * The codec of Kafka: ids of the schema registry instead of fingerprints. Services only read the registry; the migration step registers
 * (register-schemas.ts). Throws `ServiceUnavailable` when the registry does not answer or does not have a schema of this release yet.
 */
export async function registryCodec(settings: RegistrySettings): Promise<Codec> {
  const registry = registryClient(settings);
  const schemas = new PayloadSchemas();
  const headers = new Map<MessageType, Buffer>();
  const readers = new Map<number, PayloadReader>();
  await Promise.all(
    schemas.names().map(async (type) => {
      const id = await idOf(registry, type);
      const reader = schemas.reader(MESSAGE_SCHEMAS[type]);
      if (reader !== null) readers.set(id, reader);
      headers.set(type, headerOf(id));
    }),
  );
  const unknown = new Map<number, number>();
  return {
    encode(type, payload) {
      const body = schemas.body(type, payload);
      return Buffer.concat([headers.get(type) ?? Buffer.alloc(0), body]);
    },
    decode(value) {
      const id = schemaIdOf(value);
      if (id === null) throw new Error('not framed for the schema registry (marker 00 and schema id missing)');
      const reader = readers.get(id);
      if (reader === undefined) throw new UnknownFingerprint(`schema id ${id} is none of ours`);
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      return { type: reader.type, payload: reader.read(bytes.subarray(HEADER_BYTES)) };
    },
    async prepare(values) {
      const missing = new Set<number>();
      for (const value of values) {
        const id = schemaIdOf(value);
        if (id !== null && !readers.has(id) && performance.now() >= (unknown.get(id) ?? 0)) missing.add(id);
      }
      for (const id of missing) {
        const reader = await readerOf(settings, schemas, id);
        if (reader === null) unknown.set(id, performance.now() + UNKNOWN_FOR_MS);
        else readers.set(id, reader);
      }
    },
  };
}

function headerOf(id: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(id, 1);
  return header;
}

function schemaIdOf(value: Uint8Array): number | null {
  if (value.byteLength < HEADER_BYTES || value[0] !== 0) return null;
  return new DataView(value.buffer, value.byteOffset, value.byteLength).getUint32(1);
}

async function idOf(registry: SchemaRegistry, type: MessageType): Promise<number> {
  const subject = subjectOf(type);
  try {
    return await registry.getRegistryIdBySchema(subject, { type: SchemaType.AVRO, schema: MESSAGE_SCHEMAS[type] });
  } catch (error) {
    if (isAbsent(error))
      throw new TrainyardError(
        'ServiceUnavailable',
        `the schema registry (SCHEMA_REGISTRY_URL) does not have ${subject} as this release writes it: run the migration step (npm run migrate)`,
        { cause: error },
      );
    throw unreachable(error);
  }
}

/** Null when the registry does not know the id, or it is a schema of somebody else, or one that today's cannot read. */
async function readerOf(
  settings: RegistrySettings,
  schemas: PayloadSchemas,
  id: number,
): Promise<PayloadReader | null> {
  const text = await schemaText(settings, id);
  if (text === null) return null;
  try {
    return schemas.reader(text);
  } catch {
    return null;
  }
}

/** As it was registered. Not by the client: what it returns has lost defaults and has other names. Null for an id that nobody registered. */
async function schemaText({ url, auth }: RegistrySettings, id: number): Promise<string | null> {
  const login = auth === undefined ? null : Buffer.from(`${auth.username}:${auth.password}`).toString('base64');
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}/schemas/ids/${id}`, {
      headers: { accept: 'application/json', ...(login === null ? {} : { authorization: `Basic ${login}` }) },
      signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS),
    });
    if (response.status === 404) return null;
    if (!response.ok) throw new Error(`status ${response.status}`);
    const { schema } = (await response.json()) as { schema?: unknown };
    return typeof schema === 'string' ? schema : null;
  } catch (error) {
    throw unreachable(error);
  }
}

/** The client's word for a 404 (subject, version or schema not found); everything else has a status of its own or none. */
const isAbsent = (error: unknown): boolean =>
  (error as { name?: unknown } | null)?.name === 'ConfluentSchemaRegistryError';

export const unreachable = (error: unknown): TrainyardError =>
  new TrainyardError(
    'ServiceUnavailable',
    `the schema registry cannot be asked (SCHEMA_REGISTRY_URL): ${messageOf(error)}`,
    {
      cause: error,
    },
  );
