import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { peerCache, PeerUnavailable } from '../../scripts/peers/cache.ts';
import { installPythonExample } from '../../scripts/peers/python-example.ts';
import { e2ePlatform, type Settings } from '../support/e2e/platform.ts';
import type { RestClient } from '../support/e2e/rest-client.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

const EXAMPLES = join(import.meta.dirname, '../../examples');
/** A tiny job takes 2 to 4 s; the machine may be busy. */
const WITHIN_MS = 90_000;

const peers = { kafka: await peer('kafka'), registry: await peer('registry') };
const isMissing = Object.values(peers).some((state) => !state.available);
const prefix = `t${randomBytes(5).toString('hex')}.`;

const say = (line: string): void => void process.stderr.write(`peers: ${line}\n`);

/** The interpreter of the example's own environment; null, with a line that says why, where it cannot be had. */
async function pythonForExample(): Promise<string | null> {
  try {
    return await installPythonExample(peerCache(process.env, say));
  } catch (error) {
    if (!(error instanceof PeerUnavailable)) throw error;
    say(`not run: the example in Python: ${error.message}`);
    return null;
  }
}

const python = isMissing ? null : await pythonForExample();

const EXAMPLE_PROGRAMS = [
  { name: 'Node', command: process.execPath, file: join(EXAMPLES, 'producer-node/submit-job.js') },
  { name: 'Python', command: python, file: join(EXAMPLES, 'producer-python/submit_job.py') },
];

interface Outcome {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

/** The example as somebody else runs it: a process with the variables that its README names, and nothing of ours. */
async function run({ command, file }: (typeof EXAMPLE_PROGRAMS)[number], variables: Settings): Promise<Outcome> {
  const child = spawn(command ?? '', [file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      BROKERS: addressOf(peers.kafka).brokers.join(','),
      SCHEMA_REGISTRY_URL: addressOf(peers.registry).url,
      TOPIC_PREFIX: prefix,
      DATASET: 'tiny',
      ...variables,
    },
    timeout: WITHIN_MS,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, lines: output.stdout.trim().split('\n'), stderr: output.stderr };
}

/** First words of the lines, each once: the order of what happened. */
const happened = ({ lines }: Outcome): string[] => [...new Set(lines.map((line) => line.split(' ')[0] ?? ''))];

describe.skipIf(isMissing)('examples of producers', () => {
  const ports = isMissing
    ? {}
    : {
        BUS_URL: `kafka://${addressOf(peers.kafka).brokers.join(',')}`,
        SCHEMA_REGISTRY_URL: addressOf(peers.registry).url,
        TOPIC_PREFIX: prefix,
      };
  const get = e2ePlatform({ ports });

  async function projectWithKey(id: string): Promise<{ client: RestClient; key: string }> {
    const client = await get().project(id);
    const { key } = await client.request<{ key: string }>(`/v1/projects/${id}/keys`, { json: { role: 'submitter' } });
    return { client, key };
  }

  describe.each(EXAMPLE_PROGRAMS)('in $name', (program) => {
    const project = `by-${program.name.toLowerCase()}`;

    it.skipIf(program.command === null)(
      'submit a job by one record and see it trained to its end',
      { timeout: 150_000 },
      async () => {
        const { client, key } = await projectWithKey(project);
        const variables = { PROJECT: project, API_KEY: key, MODEL: 'by-record', IDEMPOTENCY_KEY: 'once' };
        const outcome = await run(program, variables);
        expect(outcome).toMatchObject({ code: 0, stderr: '' });
        expect(happened(outcome)).toEqual(['sent', 'accepted', 'status', 'finished']);
        expect(outcome.lines.join('\n')).toContain('run_training');
        const jobId = outcome.lines.find((line) => line.startsWith('accepted'))?.split(/\s+/)[1];
        const job = await client.request<{ status: string; labels: object }>(`/v1/jobs/${jobId}`);
        expect(job).toMatchObject({ status: 'COMPLETED', labels: { source: expect.stringMatching(/^producer-/) } });
        expect(await client.versions('by-record')).toHaveLength(1);
      },
    );

    it.skipIf(program.command === null)(
      'are told why they are refused: a wrong key, a dataset that is not there',
      async () => {
        const { key } = await projectWithKey(`${project}-refused`);
        const wrongKey = await run(program, { PROJECT: `${project}-refused`, API_KEY: `ty_${'x'.repeat(43)}` });
        expect(wrongKey.code).toBe(2);
        expect(wrongKey.lines.at(-1)).toMatch(/^rejected +Unauthenticated: /);
        const noData = await run(program, { PROJECT: `${project}-refused`, API_KEY: key, DATASET: 'absent' });
        expect(noData.code).toBe(2);
        expect(noData.lines.slice(-2).join('\n')).toMatch(/^rejected +ValidationFailed: .*\n +\/spec\/dataset/);
      },
    );

    it.skipIf(program.command === null)('say which variables are missing', async () => {
      const outcome = await run(program, { DATASET: '' });
      expect(outcome.code).toBe(1);
      expect(outcome.stderr).toContain('set API_KEY, PROJECT, DATASET');
    });
  });
});
