import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, connect } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { eventually } from './eventually.ts';

export interface S3Server {
  readonly endpoint: string;
  readonly region: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Folder in which the server keeps bucket `b` as the folder `b`; null for a server that we did not start. */
  readonly folder: string | null;
  /** Of the server's process; null for a server that we did not start. */
  readonly pid: number | null;
  makeBucket(name: string): Promise<void>;
  stop(): Promise<void>;
}

export type S3ServerOrReason = { readonly server: S3Server } | { readonly reason: string };

/**
 * A real S3 server: the one of `TEST_S3_ENDPOINT` (with `TEST_S3_ACCESS_KEY_ID`, `TEST_S3_SECRET_ACCESS_KEY`), else versitygw from the
 * folder of installed peers on a free port of the loopback; otherwise the reason why there is none.
 */
export async function startS3Server(): Promise<S3ServerOrReason> {
  const endpoint = process.env['TEST_S3_ENDPOINT'];
  if (endpoint !== undefined) {
    const credentials = {
      accessKeyId: process.env['TEST_S3_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: process.env['TEST_S3_SECRET_ACCESS_KEY'] ?? '',
    };
    return { server: serverAt({ endpoint, credentials, folder: null, pid: null }, () => Promise.resolve()) };
  }
  const cache = process.env['PEERS_CACHE'] ?? join(homedir(), '.cache/trainyard/peers');
  const binary = join(cache, 'versitygw-1.8.0/versitygw');
  if (!existsSync(binary)) return { reason: 'TEST_S3_ENDPOINT is not set and versitygw 1.8.0 is not installed' };
  return { server: await startVersitygw(binary) };
}

async function startVersitygw(binary: string): Promise<S3Server> {
  const root = await mkdtemp(join(tmpdir(), 'trainyard-s3-'));
  const folder = join(root, 'data');
  await mkdir(folder);
  const credentials = { accessKeyId: 'testkey', secretAccessKey: 'testsecret' };
  const port = await freePort();
  const child = spawn(binary, ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', folder], {
    env: { ROOT_ACCESS_KEY: credentials.accessKeyId, ROOT_SECRET_KEY: credentials.secretAccessKey },
    stdio: 'ignore',
  });
  // A test runner that ends early must not leave it behind.
  const onExit = (): void => void child.kill('SIGKILL');
  process.once('exit', onExit);
  const stop = async (): Promise<void> => {
    process.removeListener('exit', onExit);
    await stopChild(child);
    await rm(root, { recursive: true, force: true });
  };
  try {
    await eventually(() => accepts(port));
  } catch (error) {
    await stop();
    throw error;
  }
  return serverAt({ endpoint: `http://127.0.0.1:${port}`, credentials, folder, pid: child.pid ?? null }, stop);
}

function serverAt(place: Omit<S3Server, 'region' | 'makeBucket' | 'stop'>, stop: () => Promise<void>): S3Server {
  const region = process.env['TEST_S3_REGION'] ?? 'us-east-1';
  return {
    ...place,
    region,
    makeBucket: async (name) => {
      const { endpoint, credentials } = place;
      const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials });
      await client.send(new CreateBucketCommand({ Bucket: name }));
      client.destroy();
    },
    stop,
  };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(timer);
}

async function accepts(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
