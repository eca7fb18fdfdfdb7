import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FoundPeer, type Ladder, openDesk } from './desk.ts';
import { givenAddress } from './given-addresses.ts';
import { ladderOf } from './ladder.ts';
import type { PeerAddresses, PeerName } from './peer-state.ts';

describe('an address that the environment gives', () => {
  it('is taken as it is, for each peer by its own variables', () => {
    const environment = {
      TEST_KAFKA_BROKERS: 'a:9092, b:9092',
      TEST_SCHEMA_REGISTRY_URL: 'http://registry:8081/',
      TEST_S3_ENDPOINT: 'http://s3:7070',
      TEST_S3_ACCESS_KEY_ID: 'k',
      TEST_S3_SECRET_ACCESS_KEY: 's',
      TEST_MLFLOW_URL: 'http://mlflow:5000',
    };
    expect(givenAddress('kafka', environment)).toEqual({ brokers: ['a:9092', 'b:9092'] });
    expect(givenAddress('registry', environment)).toEqual({ url: 'http://registry:8081' });
    expect(givenAddress('s3', environment)).toMatchObject({ endpoint: 'http://s3:7070', region: 'us-east-1' });
    expect(givenAddress('mlflow', environment)).toEqual({ url: 'http://mlflow:5000' });
  });

  it('is none when the variable is absent or empty', () => {
    expect(givenAddress('kafka', {})).toBeNull();
    expect(givenAddress('mlflow', { TEST_MLFLOW_URL: '' })).toBeNull();
  });

  it('of an S3 server without keys is a mistake, not a reason to take another server', () => {
    expect(() => givenAddress('s3', { TEST_S3_ENDPOINT: 'http://s3:7070' })).toThrow('TEST_S3_SECRET_ACCESS_KEY');
  });
});

describe('the ladder', () => {
  let empty: string;
  beforeAll(async () => {
    empty = await mkdtemp(join(tmpdir(), 'trainyard-ladder-'));
  });
  afterAll(() => rm(empty, { recursive: true, force: true }));

  it('takes what the environment names first, and stops nothing that it did not start', async () => {
    const lines: string[] = [];
    const ladder = ladderOf({ TEST_KAFKA_BROKERS: 'a:9092' }, (line) => void lines.push(line));
    const found = await ladder('kafka');
    expect(found.state).toEqual({ available: true, rung: 'environment', brokers: ['a:9092'] });
    expect(lines).toEqual(['kafka: environment, a:9092']);
    await found.stop();
  });

  it.each(['kafka', 'registry', 's3', 'mlflow'] as const)(
    'ends for %s with a reason where there is no address, no container runtime and no tool',
    async (name) => {
      const lines: string[] = [];
      const environment = { PATH: empty, PEERS_CACHE: join(empty, 'cache'), PEERS_DOCKER: '0' };
      const { state } = await ladderOf(environment, (line) => void lines.push(line))(name);
      expect(state).toMatchObject({ available: false });
      expect(lines.at(-1)).toMatch(
        new RegExp(`^not run: ${name}: PEERS_DOCKER=0; .*(is not on PATH|needs Java \\d+ or newer)`),
      );
    },
  );

  it('installs nothing under PEERS_INSTALL=0', async () => {
    const environment = { ...process.env, PEERS_CACHE: join(empty, 'none'), PEERS_DOCKER: '0', PEERS_INSTALL: '0' };
    const { state } = await ladderOf(environment, () => undefined)('s3');
    expect(state).toMatchObject({ available: false, reason: expect.stringContaining('PEERS_INSTALL=0') });
  });
});

describe('the desk', () => {
  /** Counts how often each peer is asked for and stopped. */
  function countingLadder(): { ladder: Ladder; started: string[]; stopped: string[] } {
    const started: string[] = [];
    const stopped: string[] = [];
    const ladder = async (name: PeerName): Promise<FoundPeer<{ readonly url: string }>> => {
      started.push(name);
      if (name === 's3') throw new Error('it does not start');
      return {
        state: { available: true, rung: 'environment', url: `http://${name}` },
        stop: async () => void stopped.push(name),
      };
    };
    return { started, stopped, ladder };
  }

  const ask = async (url: string): Promise<PeerAddresses['mlflow']> =>
    (await (await fetch(url)).json()) as PeerAddresses['mlflow'];

  it('starts a peer once, when it is first asked for, and stops what it started at the end', async () => {
    const { ladder, started, stopped } = countingLadder();
    const desk = await openDesk(ladder);
    expect(started).toEqual([]);
    const answers = await Promise.all([ask(`${desk.url}/mlflow`), ask(`${desk.url}/mlflow`)]);
    expect(answers.map(({ url }) => url)).toEqual(['http://mlflow', 'http://mlflow']);
    expect(started).toEqual(['mlflow']);
    await desk.close();
    expect(stopped).toEqual(['mlflow']);
  });

  it('answers an error for a peer that is there and does not start, and knows no other names', async () => {
    const desk = await openDesk(countingLadder().ladder);
    const failed = await fetch(`${desk.url}/s3`);
    expect([failed.status, await failed.text()]).toEqual([500, 'it does not start']);
    expect((await fetch(`${desk.url}/zookeeper`)).status).toBe(404);
    expect((await fetch(new URL('/mlflow', desk.url))).status).toBe(404);
    await desk.close();
  });
});
