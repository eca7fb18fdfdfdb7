import { spawn } from 'node:child_process';
import { cp } from 'node:fs/promises';
import { basename, join, matchesGlob, relative } from 'node:path';

export interface ImageOptions {
  /** The build context. */
  readonly context: string;
  /** Texts of the Dockerfile and the .dockerignore. */
  readonly dockerfile: string;
  readonly dockerignore: string;
  /** Gets what lies in WORKDIR. */
  readonly into: string;
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * What an image holds, without Docker: does what a Dockerfile says up to its first ARG, in a folder. Knows COPY of files and folders, ENV and RUN; the base
 * image is whatever `environment` has on its PATH.
 */
export async function buildImageFolder(options: ImageOptions): Promise<void> {
  const { context, dockerfile, dockerignore, into } = options;
  const environment = { ...options.environment };
  for (const { word, rest } of instructions(dockerfile)) {
    if (word === 'ARG') return;
    if (word === 'ENV') {
      const [name = '', value = ''] = rest.split('=');
      environment[name] = value;
    } else if (word === 'COPY') {
      const [to = '', ...from] = rest.split(/\s+/).reverse();
      for (const path of from)
        await cp(join(context, path), to.endsWith('/') ? join(into, to, basename(path)) : join(into, to), {
          recursive: true,
          filter: (source) => !isIgnored(relative(context, source), dockerignore),
        });
    } else if (word === 'RUN') await run(rest, into, environment);
  }
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

/** The last pattern that matches decides; what lies in an ignored folder is not asked for. */
function isIgnored(path: string, dockerignore: string): boolean {
  const patterns = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const last = patterns.findLast((pattern) => matchesGlob(path, pattern.replace(/^!/, '')));
  return last !== undefined && !last.startsWith('!');
}

async function run(command: string, cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn('/bin/sh', ['-c', command], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`${command} ended with ${String(code)}: ${said.slice(-2_000)}`);
}
