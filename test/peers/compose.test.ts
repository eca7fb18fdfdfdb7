import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messageOf } from '#lib/kernel/errors.ts';
import { freePort } from '../../cli/start/local-ports.ts';
import { childEnvironment } from '../support/child-environment.ts';
import { type ComposeService, readComposeFile, withoutOutside } from '../support/compose-file.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { RestClient } from '../support/e2e/rest-client.ts';
import { makeProject, tinyJob } from '../support/e2e/tiny-jobs.ts';
import { eventually } from '../support/eventually.ts';
import { buildImageFolder, imageSettings } from '../support/image-folder.ts';
import { addressOf, peer } from '../support/peers/peer.ts';

// What `docker compose up` runs, without containers: the folder that the Dockerfile makes, and each service from it with the variables and commands of
// Dockerfile and docker-compose.yml. Addresses, ports and folders are others, since all share one network and one file system here, and so is what keeps
// the peers' other users apart (credentials of the store, prefix of the topics).

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const compose = readComposeFile(read('docker-compose.yml'));
const composed = (name: string): ComposeService => compose.services[name] ?? {};
const SERVICES = ['orchestrator', 'cpu-worker', 'gpu-worker', 'drift-monitor', 'gateway'] as const;
/** Whose image a container runs. */
const imageOf = (name: string) => {
  const { build } = composed(name);
  return imageSettings(read('Dockerfile'), typeof build === 'object' ? (build.args ?? {}) : {});
};

const peers = {
  kafka: await peer('kafka'),
  registry: await peer('registry'),
  s3: await peer('s3'),
  mlflow: await peer('mlflow'),
};
const missing = [
  ...Object.values(peers).flatMap((state) => (state.available ? [] : [state.reason])),
  ...(process.platform === 'linux' ? [] : ['the image is for Linux']),
  ...(await withoutPackages()),
];
if (missing.length > 0) process.stdout.write(`compose: not run: ${missing.join('; ')}\n`);

/** Why the image's packages cannot be fetched; empty: they can. */
async function withoutPackages(): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)('npm', ['config', 'get', 'registry']);
    await fetch(stdout.trim(), { method: 'HEAD', signal: AbortSignal.timeout(10_000) });
    return [];
  } catch (error) {
    return [`the npm registry does not answer: ${messageOf(error)}`];
  }
}

/** From an empty npm cache: packages are fetched anew. */
const IMAGE_MS = 240_000;
/** Bucket and migrations; a busy machine takes its time. */
const ONCE_MS = 60_000;

let folder = '';
let database: TestDatabase | undefined;
const building = new AbortController();
const ports = new Map<string, number>();

interface Running {
  readonly kill: (signal: NodeJS.Signals) => void;
  /** Everything it said, once it has ended; throws unless with exit code 0. */
  readonly ended: Promise<string>;
  readonly hasEnded: () => boolean;
}
const running = new Map<string, Running>();
const everybody = new Set<Running>();

beforeAll(async () => {
  if (missing.length > 0) return;
  folder = await mkdtemp(join(tmpdir(), 'trainyard-image-'));
  database = await createTestDatabase({ migrated: false });
  for (const name of ['app', 'bin', 'home/workspace']) await mkdir(join(folder, name), { recursive: true });
  // The image has this Node and no other.
  await symlink(process.execPath, join(folder, 'bin/node'));
  const passedOn = Object.entries(process.env).filter(([name]) =>
    /^npm_config_registry$|^https?_proxy$|^node_extra_ca_certs$/i.test(name),
  );
  await buildImageFolder({
    context: ROOT,
    dockerfile: read('Dockerfile'),
    dockerignore: read('.dockerignore'),
    into: join(folder, 'app'),
    environment: {
      ...childEnvironment(),
      ...(Object.fromEntries(passedOn) as Record<string, string>),
      PATH: path(),
      npm_config_cache: join(folder, 'npm-cache'),
    },
    signal: building.signal,
  });
  for (const name of ['gateway', 'inference', ...SERVICES.map((service) => `health of ${service}`)])
    ports.set(name, await freePort());
}, IMAGE_MS);

afterAll(async () => {
  building.abort();
  for (const each of everybody) each.kill('SIGKILL');
  await Promise.allSettled([...everybody].map(({ ended }) => ended));
  await database?.drop();
  if (folder !== '') await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const path = (): string => [join(folder, 'bin'), process.env['PATH'] ?? ''].join(delimiter);
const portOf = (name: string): string => String(ports.get(name) ?? 0);

/** Addresses and folders inside the composition, and where the same is here. */
function here(text: string): string {
  const places: readonly (readonly [string, string])[] = [
    ['postgresql://trainyard:trainyard@postgres:5432/trainyard', database?.url ?? ''],
    ['kafka://kafka:9092', `kafka://${addressOf(peers.kafka).brokers.join(',')}`],
    ['http://schema-registry:8080/apis/ccompat/v7', addressOf(peers.registry).url],
    ['http://s3:7070', addressOf(peers.s3).endpoint],
    ['http://mlflow:5000', addressOf(peers.mlflow).url],
    ['http://gpu-worker:8090', `http://127.0.0.1:${portOf('inference')}`],
    ['/var/lib/trainyard', join(folder, 'home')],
    ['/app/', `${join(folder, 'app')}/`],
  ];
  return places.reduce((changed, [there, place]) => changed.replaceAll(there, place), text);
}

/** The variables of a container when nothing is set outside; nothing of this process but PATH. */
function environmentOf(name: string): Record<string, string> {
  const { accessKeyId, secretAccessKey } = addressOf(peers.s3);
  const set = Object.entries({ ...imageOf(name).environment, ...composed(name).environment });
  return {
    ...Object.fromEntries(set.map(([key, value]) => [key, here(withoutOutside(value))])),
    PATH: path(),
    HOST: '127.0.0.1',
    TOPIC_PREFIX: `${database?.name ?? ''}.`,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    HEALTH_PORT: portOf(`health of ${name}`),
    ...(name === 'gateway' ? { GATEWAY_PORT: portOf('gateway') } : {}),
    ...(name === 'gpu-worker' ? { INFERENCE_PORT: portOf('inference') } : {}),
  };
}

/** Runs a command in the container's place; the container's own when none is given. */
function run(
  name: string,
  options: { readonly command?: readonly string[]; readonly withinMs?: number } = {},
): Running {
  const { command = composed(name).command ?? imageOf(name).command, withinMs } = options;
  const [program = '', ...args] = command.map((word) => here(withoutOutside(word)));
  const child = spawn(program, args, {
    cwd: here(imageOf(name).workdir),
    env: environmentOf(name),
    stdio: ['ignore', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    ...(withinMs === undefined ? {} : { timeout: withinMs }),
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(said);
      else reject(new Error(`${name}: ${args.at(-1)} ended with ${code ?? signal}: ${said.slice(-2_000)}`));
    });
  });
  // Whoever waits hears of it; a service may end before anybody does.
  ended.catch(() => undefined);
  const started = {
    kill: (signal: NodeJS.Signals) => void child.kill(signal),
    ended,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
  };
  everybody.add(started);
  return started;
}

const secondsOf = (text = ''): number => Number(/^(\d+)s$/.exec(text)?.[1]);

describe.skipIf(missing.length > 0)('docker-compose.yml, without containers', () => {
  it('does what comes first: the bucket, and the migrations of an empty database, a broker and a registry', async () => {
    for (let time = 1; time <= 2; time++) await run('bucket', { withinMs: ONCE_MS }).ended;
    await expect(run('migrate', { withinMs: ONCE_MS }).ended).resolves.toMatch(
      /^database: version \d+, [1-9]\d* migrations applied\nkafka: \d+ topics; schema registry: \d+ subjects$/m,
    );
  });

  it('then starts five services, which are healthy as compose asks it', async () => {
    for (const name of SERVICES) running.set(name, run(name));
    for (const name of SERVICES) {
      const { test: [kind, ...command] = [], timeout } = composed(name).healthcheck ?? {};
      expect(kind).toBe('CMD');
      await eventually(
        async () => {
          const service = running.get(name);
          if (service?.hasEnded() === true) return service.ended;
          return run(name, { command, withinMs: secondsOf(timeout) * 1_000 }).ended;
        },
        { withinMs: 90_000, everyMs: 500 },
      );
    }
    for (const service of running.values()) expect(service.hasEnded()).toBe(false);
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
    const answer = await eventually(
      () => client.request<object>(`/v1/models/${model}/completions?project=composed`, { json }),
      { withinMs: 60_000 },
    );
    expect(answer).toMatchObject({ version: 1, completionTokens: 4 });
  });

  it('stops within the time that compose gives, each with exit code 0', async () => {
    const began = performance.now();
    for (const service of running.values()) service.kill('SIGTERM');
    for (const service of running.values()) await service.ended;
    expect(performance.now() - began).toBeLessThan(secondsOf(composed('gateway').stop_grace_period) * 1_000);
  });
});
