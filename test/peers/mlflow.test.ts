import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { addressOf, peer } from '../support/peers/peer.ts';

const mlflow = await peer('mlflow');

const newName = (): string => `peers-test-${randomBytes(6).toString('hex')}`;

async function call(method: 'GET' | 'POST', path: string, body: Record<string, string>): Promise<unknown> {
  const url = new URL(`${addressOf(mlflow).url}/api/2.0/mlflow/${path}`);
  if (method === 'GET') url.search = new URLSearchParams(body).toString();
  const response = await fetch(url, {
    method,
    ...(method === 'GET' ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return response.json();
}

describe.skipIf(!mlflow.available)('MLflow', () => {
  it('keeps a registered model, its versions, and the one that an alias names', async () => {
    const name = newName();
    await call('POST', 'registered-models/create', { name });
    for (const version of ['1', '2'])
      expect(
        await call('POST', 'model-versions/create', { name, source: `s3://trainyard/${name}/${version}` }),
      ).toMatchObject({ model_version: { version } });
    for (const version of ['1', '2']) {
      expect(await call('POST', 'registered-models/alias', { name, alias: 'prod', version })).toEqual({});
      expect(await call('GET', 'registered-models/alias', { name, alias: 'prod' })).toMatchObject({
        model_version: { name, version, aliases: ['prod'], source: `s3://trainyard/${name}/${version}` },
      });
    }
    expect(await call('GET', 'registered-models/alias', { name, alias: 'nobody' })).toMatchObject({
      error_code: 'INVALID_PARAMETER_VALUE',
    });
  });

  it('has one registered model of a name, however often it is created', async () => {
    const name = newName();
    await call('POST', 'registered-models/create', { name });
    expect(await call('POST', 'registered-models/create', { name })).toMatchObject({
      error_code: 'RESOURCE_ALREADY_EXISTS',
    });
  });
});
