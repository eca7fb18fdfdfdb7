import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';

const RELEASE = 'mlflow-3.17.2';

export interface MlflowServer {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** A Python that has MLflow's client; null when the server was given by its address and no installation is known. */
  readonly python: string | null;
  stop(): Promise<void>;
}

/** Why no MLflow can be had here; null when one can. */
export function missingMlflow(): string | null {
  if (process.env['TEST_MLFLOW_URL'] !== undefined || findPython() !== null) return null;
  return `no TEST_MLFLOW_URL and no ${RELEASE} in ${cacheFolder()}`;
}

/** Why nothing here can run MLflow's Python client; null when something can. */
export const missingMlflowClient = (): string | null =>
  findPython() === null ? `no ${RELEASE} in ${cacheFolder()}` : missingMlflow();

/** The server that TEST_MLFLOW_URL names, else one of our own on a free port of the loopback, with its data in a temporary folder. */
export async function startMlflow(): Promise<MlflowServer> {
  const python = findPython();
  const given = process.env['TEST_MLFLOW_URL'];
  if (given !== undefined) return { url: given.replace(/\/+$/, ''), python, stop: async () => undefined };
  if (python === null) throw new Error(`MLflow cannot be started: ${missingMlflow() ?? ''}`);
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-mlflow-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const log = await open(join(folder, 'server.log'), 'w');
  const child = spawn(python, serverArguments(folder, port), {
    // A group of its own: the workers are ended with it.
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    env: {
      ...process.env,
      // Without it seven more processes and 1.8 GB.
      MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false',
      MLFLOW_DISABLE_TELEMETRY: 'true',
      DO_NOT_TRACK: 'true',
      GIT_PYTHON_REFRESH: 'quiet',
    },
  });
  const stop = async (): Promise<void> => {
    await endGroup(child);
    await log.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    // The first start makes the schema: up to 51 s on a busy machine.
    await eventually(async () => (await fetch(`${url}/health`)).ok, { withinMs: 150_000, everyMs: 250 });
    return { url, python, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const serverArguments = (folder: string, port: number): string[] =>
  [
    ['-m', 'mlflow', 'server', '--host', '127.0.0.1', '--port', String(port), '--workers', '1'],
    ['--backend-store-uri', `sqlite:///${join(folder, 'mlflow.db')}`],
    ['--serve-artifacts', '--artifacts-destination', join(folder, 'artifacts')],
  ].flat();

const cacheFolder = (): string => process.env['PEERS_CACHE'] ?? join(homedir(), '.cache', 'trainyard', 'peers');

function findPython(): string | null {
  const home = join(cacheFolder(), RELEASE);
  return [join(home, 'venv', 'bin', 'python'), join(home, 'bin', 'python')].find((path) => existsSync(path)) ?? null;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

async function endGroup(child: ChildProcess): Promise<void> {
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => {
    child.once('exit', resolve);
  });
  process.kill(-pid, 'SIGKILL');
  await ended;
}
