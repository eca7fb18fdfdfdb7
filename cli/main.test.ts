import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

describe('the trainyard command', () => {
  it('shows its commands, and the options of each', async () => {
    await expect(trainyard(['--help'])).resolves.toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ {2}start {2,}/m),
    });
    const help = await trainyard(['start', '--help']);
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('--gateway-port <port>') });
  });

  it('refuses an unknown command and names those there are', async () => {
    const result = await trainyard(['dance']);
    expect(result).toMatchObject({
      code: 64,
      stdout: '',
      stderr: expect.stringMatching(/unknown command dance; .*start/),
    });
    await expect(trainyard([])).resolves.toMatchObject({ code: 64 });
  });

  it.each([
    [['start', '--prot', '1'], /--prot.*\n.*--home, --gateway-port/],
    [['start', '--gateway-port'], /--gateway-port.*argument missing/],
    [['start', 'now'], /Unexpected argument 'now'/],
    [['start', '--gateway-port', '70000'], /0 to 65535, not 70000/],
    [['start', '--log-level', 'loud'], /trace, debug, info/],
    [['demo', 'dance'], /the demos eval, hpo, rlhf, retrain, and the one without a name/],
    [['demo', 'eval', '--revive'], /--revive belongs to the demo hpo/],
    [['demo', 'hpo', '--seeds', '0'], /--seeds must be a whole number from 1, not 0/],
  ])('refuses %j and says what is valid', async (args, message) => {
    const result = await trainyard(args);
    expect(result.stderr).toMatch(message);
    expect(result).toMatchObject({ code: 64, stdout: '' });
  });

  it('says that nothing runs on a home', async () => {
    const home = await mkdtemp(join(tmpdir(), 'trainyard-status-'));
    const result = await trainyard(['status', '--json', '--home', home]);
    await rm(home, { recursive: true });
    expect(result.code).toBe(1);
    expect(JSON.parse(result.stdout)).toEqual({ home, supervisor: null, processes: [] });
  });
});

async function trainyard(args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}
