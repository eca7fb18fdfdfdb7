import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import { beforeAll, describe, expect, it } from 'vitest';
import { UnknownFingerprint } from '#lib/contracts/codec.ts';
import { MESSAGE_SCHEMAS } from '#lib/contracts/generated/messages.ts';
import { type MessageType, TOPICS } from '#lib/contracts/topics.ts';
import { addressOf, peer } from '../../test/support/peers/peer.ts';
import { registerSchemas } from './register-schemas.ts';
import { registryCodec, subjectOf } from './registry-codec.ts';

const registry = await peer('registry');
const settings = (): { url: string } => ({ url: addressOf(registry).url });

interface Schema {
  readonly fields: readonly { readonly name: string; readonly type: unknown; readonly default?: unknown }[];
  readonly [member: string]: unknown;
}

/** Another release's form of a message, registered under a subject of the test's own (ids are per schema, not per subject). */
async function registered(change: (schema: Schema) => Schema): Promise<{ id: number; registry: SchemaRegistry }> {
  const client = new SchemaRegistry({ host: settings().url });
  const schema = change(JSON.parse(MESSAGE_SCHEMAS.StopActivity) as Schema);
  const { id } = await client.register(
    { type: SchemaType.AVRO, schema: JSON.stringify(schema) },
    { subject: `test-${randomBytes(6).toString('hex')}` },
  );
  return { id, registry: client };
}

const STOP = { workflowId: 'wf', activityId: 'a', epoch: 1, reason: 'Cancelled' } as const;

describe.skipIf(!registry.available)('the codec of the schema registry', () => {
  beforeAll(() => registerSchemas(settings()));

  it('frames a payload with the id of its schema, and another process reads it', async () => {
    const value = (await registryCodec(settings())).encode('StopActivity', STOP);
    expect(value[0]).toBe(0);
    const id = await new SchemaRegistry({ host: settings().url }).getLatestSchemaId(subjectOf('StopActivity'));
    expect(value.readUInt32BE(1)).toBe(id);
    expect((await registryCodec(settings())).decode(value)).toEqual({ type: 'StopActivity', payload: STOP });
  });

  it('registers the same release again without another version', async () => {
    expect(await registerSchemas(settings())).toEqual(await registerSchemas(settings()));
  });

  it('reads what a newer release writes with a field more, once it has learnt the schema', async () => {
    const newer = await registered((schema) => ({
      ...schema,
      fields: [...schema.fields, { name: 'since', type: ['null', 'string'], default: null }],
    }));
    const value = await newer.registry.encode(newer.id, { ...STOP, since: 'now' });
    const codec = await registryCodec(settings());
    expect(() => codec.decode(value)).toThrow(UnknownFingerprint);
    await codec.prepare([value]);
    expect(codec.decode(value)).toEqual({ type: 'StopActivity', payload: STOP });
  });

  it('takes a schema that is nobody’s, or that today’s cannot read, for unknown, not for trouble', async () => {
    const foreign = await registered((schema) => ({ ...schema, name: 'SomethingElse' }));
    const incompatible = await registered((schema) => ({ ...schema, fields: schema.fields.slice(0, 1) }));
    const codec = await registryCodec(settings());
    for (const id of [foreign.id, incompatible.id, 2_000_000_000]) {
      const value = Buffer.from([0, 0, 0, 0, 0, 1]);
      value.writeUInt32BE(id, 1);
      await codec.prepare([value]);
      expect(() => codec.decode(value)).toThrow(UnknownFingerprint);
    }
    expect(() => codec.decode(Buffer.from('{}'))).toThrow('not framed');
  });
});

/** A registry that gives one answer to everything: what happens at the edges of a real one. */
async function answering(status: number, body: object) {
  const server = createServer((_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

describe('a registry', () => {
  it('that lacks a schema of this release is waited for, and the reason names the step that is missing', async () => {
    const empty = await answering(404, { error_code: 40401, message: 'No subject' });
    await expect(registryCodec(empty)).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      retryable: true,
      message: expect.stringContaining('npm run migrate') as string,
    });
    empty.close();
  });

  it('that does not answer is trouble that may pass', async () => {
    const gone = await answering(200, {});
    gone.close();
    await expect(registryCodec(gone)).rejects.toMatchObject({
      code: 'ServiceUnavailable',
      message: expect.stringContaining('SCHEMA_REGISTRY_URL') as string,
    });
  });
});

describe('a subject that another migration makes at the same moment', () => {
  /** A registry that has every schema and rule; but it gives these answers to the first GET and the first PUT of a rule. */
  async function racing(rule: { get: readonly [number, object]; put: readonly [number, object] }) {
    const seen = new Set<string>();
    const server = createServer((request, response) => {
      const { method = '' } = request;
      const answer = (status: number, body: object): void =>
        void response.writeHead(status, JSON_BODY).end(JSON.stringify(body));
      if (method === 'POST') return answer(200, { id: 1 });
      const type = request.url?.split('.').at(-1) as MessageType;
      const { compatibility } =
        Object.values(TOPICS).find(({ messages }) => messages.some((each) => each === type)) ?? {};
      if (seen.has(method)) return answer(200, { compatibilityLevel: compatibility });
      seen.add(method);
      return answer(...(method === 'PUT' ? rule.put : rule.get));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
  }
  const JSON_BODY = { 'content-type': 'application/json' };

  it.each([
    [
      'has its rule before ours comes',
      [404, { message: 'no rule' }],
      [409, { message: 'A rule named COMPATIBILITY already exists' }],
    ],
    ['has no rule yet', [200, { compatibilityLevel: 'NONE' }], [200, {}]],
  ] as const)('%s: the migration looks again', async (_, get, put) => {
    const other = await racing({ get, put });
    const registered = await registerSchemas(other);
    expect(new Set(registered.map(({ subject }) => subject)).size).toBe(Object.keys(MESSAGE_SCHEMAS).length);
    other.close();
  });
});

describe.skipIf(!registry.available)('a schema that breaks the rule of its subject', () => {
  it('stops the deploy with the subject and the reason, and changes nothing', async () => {
    // The registry's own answer to an incompatible form of one of our messages, as the migration step would get it.
    const client = new SchemaRegistry({ host: settings().url });
    await registerSchemas(settings());
    const subject = subjectOf('JobFinished');
    const before = await client.getLatestSchemaId(subject);
    const broken = JSON.parse(MESSAGE_SCHEMAS.JobFinished) as Schema;
    const schemas = {
      ...MESSAGE_SCHEMAS,
      JobFinished: JSON.stringify({ ...broken, fields: [...broken.fields, { name: 'mustHave', type: 'string' }] }),
    };
    await expect(registerSchemas(settings(), schemas)).rejects.toMatchObject({
      code: 'SchemaIncompatible',
      message: expect.stringContaining(subject) as string,
    });
    expect(await client.getLatestSchemaId(subject)).toBe(before);
  });
});
