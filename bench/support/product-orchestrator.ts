import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { serviceEnvironment } from '../../test/support/place.ts';
import type { BenchDatabase } from './bench-database.ts';
import { print } from './report.ts';

const ORCHESTRATOR = new URL('../../services/orchestrator/main.ts', import.meta.url);
export const PUBLISH_CHUNK = 2_000;
/** No lease and no attempt ends while the orchestrator is away or the logs are being written. */
const PATIENT = { HEARTBEAT_TIMEOUT_MS: '86400000', ACCEPT_TIMEOUT_MS: '86400000', WORKER_TIMEOUT_MS: '86400000' };

export interface Orchestrator {
  readonly child: ChildProcess;
  readonly startedAt: number;
  /** Resolves with the time at which it owned its shards. */
  readonly tookOver: Promise<number>;
}

/** The product's own program. `name`: its group instance id, when it has such a setting. */
export async function startOrchestrator(
  bench: BenchDatabase,
  name: string | null,
  profile: boolean,
): Promise<Orchestrator> {
  const startedAt = performance.now();
  // Written when it is stopped, not when it is killed: the last one alone leaves a profile.
  const profiling = profile ? ['--cpu-prof', `--cpu-prof-dir=${tmpdir()}`] : [];
  const child = spawn(process.execPath, ['--max-semi-space-size=32', ...profiling, ORCHESTRATOR.pathname], {
    env: {
      ...serviceEnvironment(bench.place),
      // As services under the supervisor have it.
      NODE_COMPILE_CACHE: globalThis.process.env['NODE_COMPILE_CACHE'] ?? '',
      LOG_LEVEL: 'info',
      ...PATIENT,
      ...(name === null ? {} : { ORCHESTRATOR_ID: name }),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child, 'spawn');
  const { promise: tookOver, resolve } = Promise.withResolvers<number>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.includes('took over shards')) resolve(performance.now());
    else if (/"level":"?(50|60|error|fatal)/.test(line)) print(line);
  });
  return { child, startedAt, tookOver };
}

export async function end({ child }: Orchestrator, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}

export async function publish({ bus }: BenchDatabase, messages: readonly OutgoingMessage[]): Promise<void> {
  for (let at = 0; at < messages.length; at += PUBLISH_CHUNK) await bus.publish(messages.slice(at, at + PUBLISH_CHUNK));
}

/** Of a job of the real fine_tune type. */
export const FINE_TUNE_INPUT = {
  jobId: 'job-bench',
  project: 'demo',
  spec: {
    dataset: { name: 'bench', version: 1 },
    base: { config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
    method: 'full',
    model: { name: 'bench' },
    hyperparameters: { maxSteps: 100, learningRate: 0.01 },
    seed: 1,
    evaluation: { suites: [{ suite: 'held_out_text' }], policy: [], samples: 3 },
  },
  dataset: { name: 'bench', version: 1, format: 'text', key: 'datasets/bench/1', sha256: 'a'.repeat(64), bytes: 1_000 },
  base: { kind: 'config', config: { layers: 2, heads: 2, embeddingSize: 64, contextLength: 64 } },
  configDigest: 'a'.repeat(64),
  codeCommit: 'bench',
};
