import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messageOf } from '#lib/kernel/errors.ts';
import { freePort } from '../../cli/start/local-ports.ts';
import { type ComposeService, readComposeFile, withoutOutside } from '../support/compose-file.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { RestClient } from '../support/e2e/rest-client.ts';
import { makeProject, tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { buildImageFolder } from '../support/image-folder.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

// What `docker compose up` runs, without containers: the folder that the Dockerfile makes, and each service from it with the very variables and commands of
// docker-compose.yml. Only addresses and folders are others, since all share one network and one file system here.

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const compose = readComposeFile(read('docker-compose.yml'));
const SERVICES = ['orchestrator', 'cpu-worker', 'gpu-worker', 'drift-monitor', 'gateway'] as const;

const peers = {
  kafka: await peer('kafka'),
  registry: await peer('registry'),
  s3: await peer('s3'),
  mlflow: await peer('mlflow'),
};
const missing = Object.values(peers).flatMap((state) => (state.available ? [] : [state.reason]));

/** From an empty npm cache: packages are fetched anew. */
const IMAGE_MS = 240_000;

let folder = '';
let database: TestDatabase;
const children = new Map<string, ChildProcess>();
const said = new Map<string, string>();
const ports = new Map<string, number>();

beforeAll(async () => {
  if (missing.length > 0) return;
  folder = await mkdtemp(join(tmpdir(), 'trainyard-image-'));
  database = await createTestDatabase({ migrated: false });
  await Promise.all(
    ['app', 'bin', 'home/workspace', 'home/objects'].map((name) => mkdir(join(folder, name), { recursive: true })),
  );
  // The image has this Node and no other.
  await symlink(process.execPath, join(folder, 'bin/node'));
  await buildImageFolder({
    context: ROOT,
    dockerfile: read('Dockerfile'),
    dockerignore: read('.dockerignore'),
    into: join(folder, 'app'),
    environment: { ...process.env, PATH: path(), npm_config_cache: join(folder, 'npm-cache') },
  });
  for (const name of ['gateway', 'inference', ...SERVICES.map((service) => `health of ${service}`)])
    ports.set(name, await freePort());
}, IMAGE_MS);

afterAll(async () => {
  for (const child of children.values()) child.kill('SIGKILL');
  await database.drop();
  if (folder !== '') await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const path = (): string => [join(folder, 'bin'), process.env['PATH'] ?? ''].join(delimiter);
const portOf = (name: string): string => String(ports.get(name));

/** Addresses and folders inside the composition, and where the same is here. */
function here(text: string): string {
  const s3 = addressOf(peers.s3);
  const places: readonly (readonly [string, string])[] = [
    ['postgresql://trainyard:trainyard@postgres:5432/trainyard', database.url],
    ['kafka://kafka:9092', `kafka://${addressOf(peers.kafka).brokers.join(',')}`],
    ['http://schema-registry:8080/apis/ccompat/v7', addressOf(peers.registry).url],
    ['http://s3:7070', s3.endpoint],
    ['http://mlflow:5000', addressOf(peers.mlflow).url],
    ['http://gpu-worker:8090', `http://127.0.0.1:${portOf('inference')}`],
    ['/var/lib/trainyard', join(folder, 'home')],
    ['/app/', `${join(folder, 'app')}/`],
  ];
  return places.reduce((changed, [there, place]) => changed.replaceAll(there, place), text);
}

const composed = (name: string): ComposeService => compose.services[name] ?? {};

/** The variables of a service, as compose sets them when nothing is set outside; nothing else of this process but PATH. */
function environmentOf(name: string): NodeJS.ProcessEnv {
  const { accessKeyId, secretAccessKey } = addressOf(peers.s3);
  const set = Object.entries(composed(name).environment ?? {}).map(([key, value]) => [
    key,
    here(withoutOutside(value)),
  ]);
  return {
    ...Object.fromEntries(set),
    PATH: path(),
    // Peers, and this machine, that others use too.
    HOST: '127.0.0.1',
    TOPIC_PREFIX: `${database.name}.`,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    HEALTH_PORT: portOf(`health of ${name}`),
    ...(name === 'gateway' ? { GATEWAY_PORT: portOf('gateway') } : {}),
    ...(name === 'gpu-worker' ? { INFERENCE_PORT: portOf('inference') } : {}),
  };
}

/** As the image starts it: `WORKDIR /app/services/X`. */
function start(name: string, service: string, command: readonly string[]): ChildProcess {
  const [program = '', ...args] = command.map((word) => here(withoutOutside(word)));
  const cwd = join(folder, 'app/services', service);
  const child = spawn(program, args, { cwd, env: environmentOf(name), stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => said.set(name, (said.get(name) ?? '') + text));
  return child;
}

async function exitOf(name: string, child: ChildProcess): Promise<void> {
  const [code, signal] =
    child.exitCode === null ? ((await once(child, 'exit')) as [number | null, string | null]) : [child.exitCode, null];
  expect([code, signal], `${name}: ${said.get(name)?.slice(-2_000)}`).toEqual([0, null]);
}

describe.skipIf(missing.length > 0)('docker-compose.yml, without containers', () => {
  it('does what comes first: the bucket, and the migrations of an empty database, a broker and a registry', async () => {
    for (let time = 1; time <= 2; time++)
      await exitOf('bucket', start('bucket', 'cpu-worker', composed('bucket').command ?? []));
    await exitOf('migrate', start('migrate', 'orchestrator', composed('migrate').command ?? []));
    expect(said.get('migrate')).toMatch(
      /^database: version \d+, [1-9]\d* migrations applied\nkafka: \d+ topics; schema registry: \d+ subjects$/m,
    );
  });

  it('then starts five services, which are healthy as compose asks it', async () => {
    for (const name of SERVICES) children.set(name, start(name, name, ['node', 'main.ts']));
    for (const name of SERVICES) {
      const [kind, ...asks] = composed(name).healthcheck?.test ?? [];
      expect(kind).toBe('CMD');
      await eventually(
        async () => {
          if (children.get(name)?.exitCode !== null)
            throw new Error(`${name} has ended: ${said.get(name)?.slice(-2_000)}`);
          await exitOf(`health of ${name}`, start(name, name, asks)).catch((error: unknown) => {
            throw new Error(messageOf(error), { cause: said.get(name)?.slice(-2_000) });
          });
        },
        { withinMs: 60_000, everyMs: 500 },
      );
    }
  });

  it('trains a job, registers it, and answers from it once it is in prod', async () => {
    const baseUrl = `http://127.0.0.1:${portOf('gateway')}`;
    const key = (await readFile(join(folder, 'home/admin.key'), 'utf8')).trim();
    const client = new RestClient({ baseUrl: () => baseUrl, key: () => key, project: 'composed' });
    await makeProject(client, client);
    const model = `composed-${randomBytes(4).toString('hex')}`;
    const job = await client.submit(tinyJob({ key: 'first', model }));
    await client.finishedAs(job.id, 'COMPLETED');
    await client.request(`/v1/models/${model}/versions/1/promote?project=composed`, { json: { stage: 'prod' } });
    const json = { prompt: 'the yard', maxTokens: 4 };
    const answer = await eventually(() =>
      client.request<{ version: number; completionTokens: number }>(
        `/v1/models/${model}/completions?project=composed`,
        { json },
      ),
    );
    expect(answer).toMatchObject({ version: 1, completionTokens: 4 });
  });

  it('stops within the time that compose gives, each with exit code 0', async () => {
    const graceMs = Number.parseInt(composed('gateway').stop_grace_period ?? '', 10) * 1_000;
    const began = performance.now();
    for (const child of children.values()) child.kill('SIGTERM');
    for (const [name, child] of children) await exitOf(name, child);
    expect(performance.now() - began).toBeLessThan(graceMs);
  });
});
