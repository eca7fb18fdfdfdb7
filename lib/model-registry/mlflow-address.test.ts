import { describe, expect, test } from 'vitest';
import { artifactAddress } from './artifact-address.ts';
import { mlflowCredentials, parseMlflowUrl } from './mlflow-address.ts';
import { experimentName, registeredModelName } from './mlflow-names.ts';
import { artifactsOfTags, artifactTags } from './mlflow-runs.ts';
import { batches } from './mlflow-runs-api.ts';

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;

describe('MODEL_REGISTRY_URL for MLflow', () => {
  test.each([
    ['mlflow+http://127.0.0.1:5000', { address: 'http://127.0.0.1:5000', namespace: '' }],
    ['mlflow+http://host:5000/', { address: 'http://host:5000', namespace: '' }],
    ['mlflow+https://host/a/b/?namespace=stage-2', { address: 'https://host/a/b', namespace: 'stage-2' }],
    ['mlflow+http://us%40er:p%3Aw@host', { address: 'http://host', namespace: '', authorization: basic('us@er:p:w') }],
  ])('%s is an address, credentials and a namespace', (url, expected) => {
    expect(parseMlflowUrl(url)).toEqual(expected);
  });

  test('credentials beside the URL win, a token over all', () => {
    const url = 'mlflow+http://user:old@host';
    const variables = { MLFLOW_TRACKING_USERNAME: 'other', MLFLOW_TRACKING_PASSWORD: 'new' };
    expect(parseMlflowUrl(url, mlflowCredentials(variables)).authorization).toBe(basic('other:new'));
    const token = mlflowCredentials({ ...variables, MLFLOW_TRACKING_TOKEN: 't' });
    expect(parseMlflowUrl(url, token).authorization).toBe('Bearer t');
    expect(parseMlflowUrl(url, mlflowCredentials({}))).toEqual(parseMlflowUrl(url));
  });

  test.each([
    'mlflow+http://',
    'mlflow+http://user:secret@',
    'mlflow+http://user:secret@host:99999',
    'mlflow+http://user:secret@host?namespace=Not%20One',
    'mlflow+http://user:secret@host?name=space',
    'mlflow+http://user:secret@host#secret',
  ])('%s is refused with the name of the variable and without its secrets', (url) => {
    expect(() => parseMlflowUrl(url)).toThrow(/^MODEL_REGISTRY_URL cannot be used: (?!.*secret)/);
  });
});

describe('names in MLflow', () => {
  test('of different models differ, and hold no / and no :', () => {
    const places = ['a', 'a.b', 'a~2eb', 'a/b', 'a:b', 'ä'].flatMap((project) =>
      ['c', 'b.c', '2eb.c'].flatMap((name) => ['', 'a', 'n'].map((namespace) => ({ namespace, project, name }))),
    );
    const names = places.map(registeredModelName);
    expect(new Set(names).size).toBe(places.length);
    expect(names.filter((name) => !/^[A-Za-z0-9_.~-]+$/.test(name))).toEqual([]);
    expect(registeredModelName({ namespace: '', project: 'demo', name: 'speeches' })).toBe('demo.speeches');
    expect(experimentName('', 'demo')).toBe('trainyard/demo');
  });

  test('that are longer than MLflow takes are refused', () => {
    const place = { namespace: '', project: 'p'.repeat(200), name: 'n'.repeat(56) };
    expect(() => registeredModelName(place)).toThrow(/has 257 characters/);
    expect(registeredModelName({ ...place, name: 'n'.repeat(55) })).toHaveLength(256);
  });
});

describe('what is sent to MLflow', () => {
  test('an object in an s3 store has an address, one in a folder has none', () => {
    expect(artifactAddress('s3://bucket/prefix/?endpoint=http://h&region=r')('a/b')).toBe('s3://bucket/prefix/a/b');
    expect(artifactAddress('s3://bucket')('a/b')).toBe('s3://bucket/a/b');
    expect(artifactAddress('file:///data')('a/b')).toBeNull();
  });

  test('addresses of artifacts fit tags that MLflow does not cut, and come back in order', () => {
    const uris = Array.from({ length: 3_000 }, (_, n) => `artifacts/${'ü"\\'.repeat(n % 300)}/${n}`);
    const tags = artifactTags(uris);
    expect(tags.length).toBeGreaterThan(20);
    expect(Math.max(...tags.map(({ value }) => value.length))).toBeLessThanOrEqual(8_000);
    expect(artifactsOfTags(tags.toReversed())).toEqual(uris);
    expect(artifactTags([])).toEqual([]);
  });

  test('batches keep both limits and lose nothing', () => {
    const items = Array.from({ length: 1_234 }, (_, n) => 'ü'.repeat(n % 50));
    const made = batches(items, 100, 3_000);
    expect(made.flat()).toEqual(items);
    for (const batch of made) {
      expect(batch.length).toBeLessThanOrEqual(100);
      expect(Buffer.byteLength(JSON.stringify(batch))).toBeLessThanOrEqual(3_002);
    }
    expect(batches(['x'.repeat(5_000)], 100, 3_000)).toHaveLength(1);
    expect(batches([], 1)).toEqual([]);
  });
});
