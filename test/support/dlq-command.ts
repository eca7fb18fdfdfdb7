import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Place } from './place.ts';
import { childEnvironment } from './child-environment.ts';

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `trainyard dlq ...` as a process of its own, told by its environment where the platform is. */
export async function dlq(place: Place, ...args: string[]): Promise<CommandResult> {
  const variables =
    typeof place === 'string'
      ? { DATABASE_URL: place }
      : {
          DATABASE_URL: place.databaseUrl,
          BUS_URL: place.busUrl,
          SCHEMA_REGISTRY_URL: place.registryUrl,
          TOPIC_PREFIX: place.prefix,
        };
  return dlqWith(variables, ...args);
}

/** The same with exactly these variables, and none of the platform's otherwise. */
export async function dlqWith(variables: Readonly<Record<string, string>>, ...args: string[]): Promise<CommandResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../../cli/main.ts'), 'dlq', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...childEnvironment(), ...variables },
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

export interface ListedLetter {
  readonly id: number;
  readonly state: string;
  readonly topic: string;
  readonly partition: number;
  readonly code: string;
  readonly consumer: string;
  readonly settledBy: string | null;
  readonly settledReason: string | null;
}

export async function listed(place: Place, ...args: string[]): Promise<ListedLetter[]> {
  const { code, stdout, stderr } = await dlq(place, 'list', '--json', ...args);
  if (code !== 0) throw new Error(`dlq list ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as ListedLetter[];
}
