import { spawn } from 'node:child_process';
import { cp } from 'node:fs/promises';
import { basename, join, matchesGlob, relative } from 'node:path';

/** What a Dockerfile says about the processes of its image. */
export interface ImageSettings {
  readonly environment: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly command: readonly string[];
}

export interface ImageOptions {
  /** The build context. */
  readonly context: string;
  /** Texts of the Dockerfile and the .dockerignore. */
  readonly dockerfile: string;
  readonly dockerignore: string;
  /** Gets what lies in the first WORKDIR. */
  readonly into: string;
  /** Besides the ENV lines. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ends the build, and what it runs. */
  readonly signal: AbortSignal;
}

/**
 * What an image holds, without Docker: does the COPY, ENV and RUN lines of a Dockerfile up to its first ARG, in a folder. The base image is whatever
 * `environment` has on its PATH.
 */
export async function buildImageFolder(options: ImageOptions): Promise<void> {
  const { context, dockerfile, dockerignore, into, signal } = options;
  const environment = { ...options.environment };
  for (const { word, rest } of instructions(dockerfile)) {
    if (word === 'ARG') return;
    if (word === 'ENV') Object.assign(environment, variable(rest));
    else if (word === 'COPY') {
      const [to = '', ...from] = rest.split(/\s+/).reverse();
      for (const path of from)
        await cp(join(context, path), to.endsWith('/') ? join(into, to, basename(path)) : join(into, to), {
          recursive: true,
          filter: (source) => !isIgnored(relative(context, source), dockerignore),
        });
    } else if (word === 'RUN') await run(rest, { cwd: into, env: environment, signal });
  }
}

/** What the ENV, WORKDIR and CMD lines say when the ARGs have these values. */
export function imageSettings(dockerfile: string, args: Readonly<Record<string, string>>): ImageSettings {
  const filled = dockerfile.replaceAll(/\$\{(\w+)\}/g, (text, name: string) => args[name] ?? text);
  const lines = instructions(filled);
  const last = (word: string): string => lines.findLast((line) => line.word === word)?.rest ?? '';
  return {
    environment: Object.assign(
      {},
      ...lines.filter(({ word }) => word === 'ENV').map(({ rest }) => variable(rest)),
    ) as Record<string, string>,
    workdir: last('WORKDIR'),
    command: JSON.parse(last('CMD')) as string[],
  };
}

function instructions(dockerfile: string): { readonly word: string; readonly rest: string }[] {
  const lines = dockerfile.replaceAll(/\\\n/g, ' ').split('\n');
  return lines
    .filter((line) => /^[A-Z]+ /.test(line))
    .map((line) => {
      const [word = ''] = line.split(' ');
      return { word, rest: line.slice(word.length).trim() };
    });
}

function variable(rest: string): Record<string, string> {
  const at = rest.indexOf('=');
  return { [rest.slice(0, at)]: rest.slice(at + 1) };
}

/** The last pattern that matches decides; what lies in an ignored folder is not asked for. */
function isIgnored(path: string, dockerignore: string): boolean {
  const patterns = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const last = patterns.findLast((pattern) => matchesGlob(path, pattern.replace(/^!/, '')));
  return last !== undefined && !last.startsWith('!');
}

interface RunOptions {
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly signal: AbortSignal;
}

async function run(command: string, { cwd, env, signal }: RunOptions): Promise<void> {
  signal.throwIfAborted();
  // A group of its own, since the shell's children do not end with it.
  const child = spawn('/bin/sh', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const kill = (): void => void (child.pid !== undefined && process.kill(-child.pid, 'SIGKILL'));
  signal.addEventListener('abort', kill);
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  signal.removeEventListener('abort', kill);
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}: ${said.slice(-2_000)}`);
}
