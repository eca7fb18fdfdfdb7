import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How the bootstrap hands over: in its own process (execve), or to a child where Node cannot replace itself (Node 20). */
const HAND_OVERS = [
  ['by replacing itself', []],
  ['to a child process', ['--import', 'data:text/javascript,delete process.execve']],
] as const;

describe('the bootstrap', () => {
  let root: string;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'trainyard-bootstrap-'));
    await mkdir(join(root, 'scripts'));
    await cp(join(import.meta.dirname, 'bootstrap.mjs'), join(root, 'scripts', 'bootstrap.mjs'));
    await writeFile(join(root, 'entry.ts'), ENTRY);
    await writePackages(root, '1.0.0');
  });

  afterAll(() => rm(root, { recursive: true, force: true }));

  it('says in clear words that npm is missing', async () => {
    const result = await bootstrap(root, ['print'], { env: { PATH: '/nonexistent' } });
    expect(result.code).toBe(127);
    expect(result.stderr).toMatch(/npm was not found/);
    expect(result.stdout).toBe('');
  });

  it('installs what is missing, once, and leaves standard output to the entry', async () => {
    const first = await bootstrap(root, ['print', '--json']);
    expect(first.stderr).toMatch(/there is no node_modules yet: installing/);
    expect(first.stderr).toMatch(/installed in \d+ s/);
    expect(JSON.parse(first.stdout)).toEqual({ args: ['--json'], path: join(root, 'node_modules', '.bin'), major: 24 });

    const second = await bootstrap(root, ['print']);
    expect(second.stderr).toBe('');
    expect(second.code).toBe(0);
  });

  it('installs again when package-lock.json changed', async () => {
    await writePackages(root, '1.0.1');
    const changed = await bootstrap(root, ['print']);
    expect(changed.stderr).toMatch(/node_modules does not match package-lock.json/);
    expect(changed.code).toBe(0);
    await expect(bootstrap(root, ['print'])).resolves.toMatchObject({ stderr: '' });
  });

  it('lets one of two that start together install, the other wait', async () => {
    await rm(join(root, 'node_modules'), { recursive: true });
    const results = await Promise.all([bootstrap(root, ['print']), bootstrap(root, ['print'])]);
    expect(results.map((result) => result.code)).toEqual([0, 0]);
    expect(results.filter((result) => result.stderr.includes('npm ci'))).toHaveLength(1);
  });

  it('passes on the exit code of a failed installation', async () => {
    const broken = await mkdtemp(join(tmpdir(), 'trainyard-bootstrap-'));
    await cp(root, broken, { recursive: true, filter: (path) => !path.includes('node_modules') });
    await writeFile(join(broken, 'package.json'), JSON.stringify({ name: 'x', dependencies: { absent: '1.0.0' } }));
    const result = await bootstrap(broken, ['print']);
    await rm(broken, { recursive: true });
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/npm ci failed with exit code 1/);
    expect(result.stdout).toBe('');
  });

  describe.each(HAND_OVERS)('handing over %s', (_name, nodeOptions) => {
    it('passes on the exit code', async () => {
      await expect(bootstrap(root, ['exit'], { nodeOptions })).resolves.toMatchObject({ code: 7, stderr: '' });
    });

    it('lets the entry decide what SIGTERM means', async () => {
      const result = await bootstrap(root, ['wait'], { nodeOptions, onReady: 'SIGTERM' });
      expect(result).toMatchObject({ code: 3, stdout: 'ready\nSIGTERM\n' });
    });
  });

  it('ends with 128 + n when a signal ended the entry', async () => {
    const nodeOptions = HAND_OVERS[1][1];
    await expect(bootstrap(root, ['die'], { nodeOptions })).resolves.toMatchObject({ code: 137 });
  });
});

const ENTRY = `
import process from 'node:process';
const [what, ...args]: string[] = process.argv.slice(2);
if (what === 'print')
  console.log(JSON.stringify({ args, path: process.env.PATH!.split(':')[0], major: Number(process.versions.node.split('.')[0]) }));
if (what === 'exit') process.exitCode = 7;
if (what === 'die') process.kill(process.pid, 'SIGKILL');
if (what === 'wait') {
  process.on('SIGTERM', () => { console.log('SIGTERM'); process.exit(3); });
  setInterval(() => undefined, 1000);
  console.log('ready');
}
`;

/** A project whose only dependency is a folder of its own, so that \`npm ci\` is real but needs no registry. */
async function writePackages(root: string, version: string): Promise<void> {
  const local = { name: 'local', version };
  await mkdir(join(root, 'local'), { recursive: true });
  await writeFile(join(root, 'local', 'package.json'), JSON.stringify(local));
  const project = { name: 'project', version: '1.0.0', type: 'module', dependencies: { local: 'file:local' } };
  await writeFile(join(root, 'package.json'), JSON.stringify(project));
  const packages = { '': project, local: { version }, 'node_modules/local': { resolved: 'local', link: true } };
  const lock = { name: 'project', version: '1.0.0', lockfileVersion: 3, requires: true, packages };
  await writeFile(join(root, 'package-lock.json'), JSON.stringify(lock));
}

interface BootstrapOptions {
  readonly nodeOptions?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Sent as soon as the entry has printed something. */
  readonly onReady?: NodeJS.Signals;
}

async function bootstrap(root: string, args: readonly string[], options: BootstrapOptions = {}): Promise<Result> {
  const { npm_execpath: _outer, ...env } = process.env;
  const script = join(root, 'scripts', 'bootstrap.mjs');
  const child = spawn(process.execPath, [...(options.nodeOptions ?? []), script, 'entry.ts', ...args], {
    env: { ...env, ...options.env },
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const { onReady } = options;
  if (onReady !== undefined) child.stdout.once('data', () => child.kill(onReady));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}
