import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { COMPATIBILITY, SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import { describe, expect, it } from 'vitest';
import { startSchemaRegistry } from '../../scripts/peers/schema-registry.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

const registry = await peer('registry');

interface Field {
  readonly name: string;
  readonly type: unknown;
  readonly default?: unknown;
}

const recordOf = (...fields: readonly Field[]) => ({
  type: SchemaType.AVRO as const,
  schema: JSON.stringify({ type: 'record', name: 'Probe', namespace: 'trainyard.test', fields }),
});
const ID: Field = { name: 'id', type: 'string' };
const newSubject = (): string => `peers-test-${randomBytes(6).toString('hex')}-value`;
const RULE = { compatibility: COMPATIBILITY.FULL_TRANSITIVE, separator: '-' };

describe.skipIf(!registry.available)('the schema registry', () => {
  it('gives a schema one id, and another client the schema of that id', async () => {
    const client = new SchemaRegistry({ host: addressOf(registry).url });
    const subject = newSubject();
    const first = await client.register(recordOf(ID), { subject, ...RULE });
    expect(await client.register(recordOf(ID), { subject, ...RULE })).toEqual(first);
    const encoded = await client.encode(first.id, { id: 'a' });
    expect([encoded[0], encoded.readInt32BE(1)]).toEqual([0, first.id]);
    expect(await new SchemaRegistry({ host: addressOf(registry).url }).decode(encoded)).toMatchObject({ id: 'a' });
  });

  it('refuses a schema that old readers or old records could not live with, under FULL_TRANSITIVE', async () => {
    const client = new SchemaRegistry({ host: addressOf(registry).url });
    const subject = newSubject();
    await client.register(recordOf(ID), { subject, ...RULE });
    await client.register(recordOf(ID, { name: 'lane', type: 'string', default: 'cpu' }), { subject, ...RULE });
    // Without a default a new reader cannot read what is stored.
    await expect(
      client.register(recordOf(ID, { name: 'slots', type: 'int' }), { subject, ...RULE }),
    ).rejects.toMatchObject({ status: 409 });
    const versions = await fetch(`${addressOf(registry).url}/subjects/${subject}/versions`);
    expect(await versions.json()).toEqual([1, 2]);
  });
});

describe.skipIf(!registry.available || registry.rung !== 'local process')('a schema registry on this machine', () => {
  it('has its schemas under the same ids after kill -9', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'trainyard-registry-'));
    const own = await startSchemaRegistry({ dir });
    try {
      const subject = newSubject();
      const { id } = await new SchemaRegistry({ host: own.url }).register(recordOf(ID), { subject, ...RULE });
      own.kill('SIGKILL');
      await own.restart();
      expect(await new SchemaRegistry({ host: own.url }).getLatestSchemaId(subject)).toBe(id);
    } finally {
      await own.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
});
