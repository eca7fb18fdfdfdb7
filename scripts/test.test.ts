import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

// The suites are written to a temporary folder: the normal run must not collect a test that fails on purpose.
describe('npm test', () => {
  it('ends with the counts and exit code 0 when all tests pass', async () => {
    await expect(runSuite({ 'a.test.ts': `it('passes', () => { expect(1).toBe(1); });` })).resolves.toEqual({
      code: 0,
      lastLine: '1 passed, 0 failed, 0 skipped',
    });
  });

  it('exits non-zero and counts it when a test fails', async () => {
    const suite = { 'a.test.ts': `it('passes', () => {}); it('fails', () => { expect(1).toBe(2); });` };
    await expect(runSuite(suite)).resolves.toEqual({ code: 1, lastLine: '1 passed, 1 failed, 0 skipped' });
  });

  it('counts a file that does not load, or whose beforeAll throws, as a failure', async () => {
    const suite = {
      'ok.test.ts': `it('passes', () => {});`,
      'unloadable.test.ts': `throw new Error('at import');`,
      'setup.test.ts': `beforeAll(() => { throw new Error('in beforeAll'); }); it('never runs', () => {});`,
    };
    await expect(runSuite(suite)).resolves.toEqual({ code: 1, lastLine: '1 passed, 2 failed, 1 skipped' });
  });

  it('fails on an unhandled error although every test passed', async () => {
    const suite = {
      'a.test.ts': `it('passes', async () => { void Promise.reject(new Error('nobody listens')); await new Promise((r) => setTimeout(r, 50)); });`,
    };
    await expect(runSuite(suite)).resolves.toEqual({ code: 1, lastLine: '1 passed, 0 failed, 0 skipped' });
  });

  it('fails when no test ran', async () => {
    await expect(runSuite({}, { args: ['--passWithNoTests'] })).resolves.toEqual({
      code: 1,
      lastLine: '0 passed, 0 failed, 0 skipped',
    });
  });

  it('fails when the global setup throws', async () => {
    const suite = {
      'a.test.ts': `it('passes', () => {});`,
      'setup.ts': `export const setup = () => { throw new Error('no server'); };`,
      'vitest.config.ts': `export default { test: { globals: true, globalSetup: ['setup.ts'] } };`,
    };
    const result = await runSuite(suite);
    expect(result.code).toBe(1);
    expect(result.lastLine).toMatch(/^0 passed, \d failed, 0 skipped$/);
  });

  it('fails on a skipped test only where everything is required', async () => {
    const suite = { 'a.test.ts': `it('passes', () => {}); it.skip('is left out', () => {});` };
    await expect(runSuite(suite)).resolves.toEqual({ code: 0, lastLine: '1 passed, 0 failed, 1 skipped' });
    const required = await runSuite(suite, { env: { TRAINYARD_REQUIRE_ALL: '1' } });
    expect(required).toEqual({ code: 1, lastLine: '1 passed, 0 failed, 1 skipped' });
  });
});

interface SuiteOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

async function runSuite(
  files: Readonly<Record<string, string>>,
  options: SuiteOptions = {},
): Promise<{ code: number | null; lastLine: string | undefined }> {
  const root = await mkdtemp(join(tmpdir(), 'trainyard-suite-'));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text);
    const args = [join(import.meta.dirname, 'test.ts'), '--root', root, '--globals', ...(options.args ?? [])];
    const child = spawn(process.execPath, args, { cwd: root, env: { ...outerEnvironment(), ...options.env } });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.resume();
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, lastLine: stdout.trimEnd().split('\n').at(-1) };
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Ours without what this very vitest run set. */
function outerEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('VITEST') && name !== 'NODE_ENV' && name !== 'TRAINYARD_REQUIRE_ALL',
  );
  return Object.fromEntries(entries);
}
