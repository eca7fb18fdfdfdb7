import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { childEnvironment } from './child-environment.ts';

export interface Component {
  readonly name: string;
  readonly ready: boolean;
  readonly reason?: string;
}

/** One of the five services as a process of its own, with exactly these variables. */
export interface ServiceProcess {
  /** Everything it wrote so far. */
  readonly output: string;
  /** Null while it lives. */
  readonly exitCode: number | null;
  /** Resolves with the exit code when it has ended. */
  readonly ended: Promise<number | null>;
  /** `/readyz` of its health server. */
  readyz(): Promise<{ readonly status: number; readonly components: readonly Component[] }>;
  /** `/metrics` of its health server. */
  metrics(): Promise<string>;
  kill(): Promise<void>;
}

export function startService(name: string, variables: Readonly<Record<string, string>>): ServiceProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../services', name, 'main.ts')], {
    env: { ...childEnvironment(), HEALTH_PORT: '0', GATEWAY_PORT: '0', LOG_LEVEL: 'info', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const port = (): string => {
    const found = /"port":(\d+)[^\n]*health server listens/.exec(output)?.[1];
    if (found === undefined) throw new Error(`no health server yet: ${output}`);
    return found;
  };
  const ask = async (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${await eventually(port, { withinMs: 30_000 })}/${path}`);
  return {
    get output() {
      return output;
    },
    get exitCode() {
      return child.exitCode;
    },
    ended,
    metrics: async () => (await ask('metrics')).text(),
    readyz: async () => {
      const response = await ask('readyz');
      const { components } = (await response.json()) as { components: readonly Component[] };
      return { status: response.status, components };
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
