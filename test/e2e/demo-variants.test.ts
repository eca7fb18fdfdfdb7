import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { homeAt } from '../../cli/start/home.ts';
import { recordedProcesses } from '../../cli/start/process-record.ts';

const PROGRAM = resolve(import.meta.dirname, '../../cli/main.ts');

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'trainyard-demo-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** `trainyard demo` with few steps as a child process. */
async function demo(...args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [PROGRAM, 'demo', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [[code], stdout, stderr] = await Promise.all([
    once(child, 'close') as Promise<[number | null]>,
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code, stdout, stderr };
}

interface EvalReport {
  readonly demo: string;
  readonly subject: string;
  readonly unmet: readonly string[];
  readonly comparisons: readonly {
    readonly label: string;
    readonly metrics: readonly { readonly name: string; readonly delta: number }[];
  }[];
  readonly files: { readonly markdown: string };
}

it('npm run demo -- eval --json: the second version is better, its report lies where it says, and nothing runs any more', async () => {
  const { code, stdout, stderr } = await demo('eval', '--json', '--base-steps', '150', '--home', home);
  if (code !== 0) throw new Error(`exit code ${code}:\n${stderr}`);
  const report = JSON.parse(stdout) as EvalReport;
  expect(report).toMatchObject({ demo: 'eval', subject: 'demo-base/2', unmet: [] });
  const [compared] = report.comparisons;
  expect(compared?.label).toBe('demo-base/1');
  expect(compared?.metrics.find(({ name }) => name === 'held_out.bits_per_byte')?.delta).toBeLessThan(0);
  expect(await readFile(report.files.markdown, 'utf8')).toContain('demo-base/1');
  expect(JSON.parse(await readFile(join(home, 'report.json'), 'utf8'))).toEqual(report);
  expect(stderr).toMatch(/evaluate_models: done/);
  expect(recordedProcesses(homeAt(home).recordFile)).toEqual([]);
}, 120_000);
