import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { installOnce, type PeerCache } from './cache.ts';
import { startLocalProcess } from './local-process.ts';
import { PINS } from './pins.ts';
import { portsFor } from './ports.ts';
import { defaultCache, peerOf, type PeerProcess, type StartOptions } from './start-options.ts';
import { findTool, runTool } from './tools.ts';

export interface S3Access {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

export interface RunningS3Server extends PeerProcess, S3Access {
  /** Idempotent. */
  createBucket(name: string): Promise<void>;
}

/** 0.2 s measured; a busy machine may take its time. */
const READY_WITHIN_MS = 30_000;
const REGION = 'us-east-1';

/**
 * Starts versitygw on loopback over the folder, installing it first where it is not in the cache. Of what was tried it alone keeps all the rules the
 * object store leans on: one winner of racing conditional puts, checksums verified, everything still there after kill -9. Its files are those of
 * the folder, so the keys `x` and `x/y` cannot both exist. Throws `PeerUnavailable` when this machine cannot run it.
 */
export async function startS3Server(options: StartOptions): Promise<RunningS3Server> {
  const program = await installS3Server(options.cache ?? defaultCache());
  const dir = resolve(options.dir);
  const [data, versions] = [join(dir, 'data'), join(dir, 'versions')];
  for (const folder of [data, versions]) await mkdir(folder, { recursive: true });
  const [port = 0] = await portsFor(dir, 1);
  const keys = await keysOf(dir);
  const process = await startLocalProcess({
    name: 'the S3 server',
    command: program,
    // Without an address it listens on every interface.
    args: ['--port', `127.0.0.1:${port}`, '--region', REGION, '--quiet', 'posix', '--versioning-dir', versions, data],
    environment: {
      PATH: '/usr/bin:/bin',
      ROOT_ACCESS_KEY: keys.accessKeyId,
      ROOT_SECRET_KEY: keys.secretAccessKey,
    },
    cwd: dir,
    logFile: join(dir, 's3-server.log'),
    isReady: () => accepts(port),
    readyWithinMs: READY_WITHIN_MS,
  });
  const access: S3Access = { endpoint: `http://127.0.0.1:${port}`, region: REGION, ...keys };
  return peerOf(process, { ...access, createBucket: (name: string) => createBucket(access, name) });
}

/** Makes a bucket; one that is ours already is no error. */
export async function createBucket(access: S3Access, name: string): Promise<void> {
  const { endpoint, region, accessKeyId, secretAccessKey } = access;
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  try {
    await client.send(new CreateBucketCommand({ Bucket: name }));
  } catch (error) {
    if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes((error as Error).name)) throw error;
  } finally {
    client.destroy();
  }
}

/** Builds versitygw from its source by `go install`; returns the path of the program. */
export async function installS3Server(cache: PeerCache): Promise<string> {
  const folder = await installOnce(cache, {
    name: `versitygw-${PINS.versitygw}`,
    description: `versitygw ${PINS.versitygw} by \`go install\` (2 to 7 minutes, once)`,
    build: async (unfinished) => {
      const go = await findTool('go', 'build the S3 server versitygw', cache.environment);
      await runTool(cache, {
        command: go,
        args: ['install', `github.com/versity/versitygw/cmd/versitygw@v${PINS.versitygw}`],
        cwd: unfinished,
        // Without cgo it needs no C compiler.
        environment: { GOBIN: unfinished, CGO_ENABLED: '0' },
        attempts: 2,
      });
    },
  });
  return join(folder, 'versitygw');
}

/** Made at the first start and kept, so that a client's configuration outlives a restart. */
async function keysOf(dir: string): Promise<Pick<S3Access, 'accessKeyId' | 'secretAccessKey'>> {
  const file = join(dir, 'keys.json');
  const fresh = { accessKeyId: 'trainyard', secretAccessKey: randomBytes(24).toString('hex') };
  try {
    await writeFile(file, JSON.stringify(fresh), { mode: 0o600, flag: 'wx' });
    return fresh;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return JSON.parse(await readFile(file, 'utf8')) as typeof fresh;
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } finally {
    socket.destroy();
  }
}
