import { copyFile, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { installOnce, type PeerCache } from './cache.ts';
import { startLocalProcess } from './local-process.ts';
import { PINS } from './pins.ts';
import { portsFor } from './ports.ts';
import { buildPythonEnvironment, pythonOf } from './python.ts';
import { defaultCache, peerOf, type PeerProcess, type StartOptions } from './start-options.ts';
import { runTool } from './tools.ts';

export interface RunningMlflow extends PeerProcess {
  readonly url: string;
  /** A Python that has the MLflow client, of the server's version. */
  readonly python: string;
}

interface MlflowInstallation {
  readonly python: string;
  /** A database with the tables of this version. */
  readonly template: string;
}

/** 51 s measured for a first start without the template at a load of 10. */
const READY_WITHIN_MS = 180_000;

/** With its job runner MLflow is ten processes and 2.3 GB, without it two and 0.5 GB. */
const ENVIRONMENT = {
  MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false',
  MLFLOW_DISABLE_TELEMETRY: 'true',
  DO_NOT_TRACK: 'true',
  GIT_PYTHON_REFRESH: 'quiet',
};

/**
 * Starts MLflow on loopback with SQLite and artifacts in the folder, installing it first where it is not in the cache; returns when it answers.
 * It answers only requests to 127.0.0.1 and localhost. Throws `PeerUnavailable` when this machine cannot run it.
 */
export async function startMlflow(options: StartOptions): Promise<RunningMlflow> {
  const cache = options.cache ?? defaultCache();
  const { python, template } = await installMlflow(cache);
  const dir = resolve(options.dir);
  await mkdir(join(dir, 'artifacts'), { recursive: true });
  const database = join(dir, 'mlflow.db');
  // Making the tables takes 5 to 40 s, a copy none.
  if (!(await exists(database)) && (await exists(template))) await copyFile(template, database);
  const [port = 0] = await portsFor(dir, 1);
  const url = `http://127.0.0.1:${port}`;
  const process = await startLocalProcess({
    name: 'MLflow',
    command: python,
    args: [
      '-m',
      'mlflow',
      'server',
      '--host=127.0.0.1',
      `--port=${port}`,
      '--workers=1',
      `--backend-store-uri=sqlite:///${database}`,
      '--serve-artifacts',
      `--artifacts-destination=${join(dir, 'artifacts')}`,
    ],
    environment: { PATH: '/usr/bin:/bin', HOME: dir, ...ENVIRONMENT },
    cwd: dir,
    logFile: join(dir, 'mlflow.log'),
    isReady: async () => (await fetch(`${url}/health`, { signal: AbortSignal.timeout(5_000) })).ok,
    readyWithinMs: READY_WITHIN_MS,
  });
  return peerOf(process, { url, python });
}

/** A virtual environment of its own, and a database with the tables. */
export async function installMlflow(cache: PeerCache): Promise<MlflowInstallation> {
  const folder = await installOnce(cache, {
    name: `mlflow-${PINS.mlflow}`,
    description: `MLflow ${PINS.mlflow} by pip (850 MB, 1 to 3 minutes, once)`,
    build: (unfinished) => buildEnvironment(cache, unfinished),
  });
  return { python: pythonOf(folder), template: join(folder, 'template.db') };
}

async function buildEnvironment(cache: PeerCache, folder: string): Promise<void> {
  const own = await buildPythonEnvironment(cache, folder, {
    what: `MLflow ${PINS.mlflow}`,
    oldestMinor: 10,
    packages: [`mlflow==${PINS.mlflow}`, 'psycopg2-binary'],
  });
  const code = `from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; S('sqlite:///${join(folder, 'template.db')}', 'mlflow-artifacts:/')`;
  await runTool(cache, { command: own, args: ['-c', code], cwd: folder, environment: ENVIRONMENT });
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
