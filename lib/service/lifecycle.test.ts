import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { childEnvironment } from '../../test/support/child-environment.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A service process whose `start` is the given code. */
function service(start: string, environment: Record<string, string> = {}) {
  const program = `
    import { Type } from '#typebox';
    import { runService } from '#lib/service/lifecycle.ts';
    import { SERVICE_VARIABLES } from '#lib/service/config.ts';
    await runService({
      name: 'specimen',
      config: Type.Object({ ...SERVICE_VARIABLES, NEEDED: Type.String({ description: 'a test needs it' }) }),
      environment: process.env,
      start: async (service) => { ${start} },
    });`;
  const env = { ...childEnvironment(), NEEDED: 'yes', ...environment };
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { cwd: ROOT, env });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, output }));
  const saw = async (text: string): Promise<string> => {
    while (!output.includes(text)) {
      const end = await Promise.race([once(child.stdout, 'data').then(() => null), ended]);
      if (end !== null && !output.includes(text)) throw new Error(`ended without "${text}": ${output}`);
    }
    return output;
  };
  return { child, ended, saw };
}

const KEEP_ALIVE = 'const t = setInterval(() => undefined, 1000); service.onStop("timer", () => clearInterval(t));';
const TWO_PARTS = `${KEEP_ALIVE}
  service.onStop('first', () => console.log('closed first'));
  service.onStop('second', async () => console.log('closed second'));`;

describe('runService', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s stops in reverse order and exits with 0', async (signal) => {
    const { child, ended, saw } = service(TWO_PARTS);
    await saw('"started"');
    child.kill(signal);
    const { code, output } = await ended;
    expect(code).toBe(0);
    expect(output.indexOf('closed second')).toBeLessThan(output.indexOf('closed first'));
  });

  it('a second signal does not cut the stop short', async () => {
    const { child, ended, saw } = service(
      `${KEEP_ALIVE} service.onStop('slow', async () => { console.log('closing'); await new Promise((r) => setTimeout(r, 200)); console.log('closed slowly'); });`,
    );
    await saw('"started"');
    child.kill('SIGINT');
    await saw('closing');
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code).toBe(0);
    expect(output).toContain('closed slowly');
  });

  it('a part that cannot be stopped keeps no other from it, and the exit code is 1', async () => {
    const { child, ended, saw } = service(`${TWO_PARTS} service.onStop('bad', () => { throw new Error('jammed'); });`);
    await saw('"started"');
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code).toBe(1);
    expect(output).toContain('jammed');
    expect(output).toContain('closed first');
  });

  it('a stop that hangs ends with exit code 1 at its bound and says what hung', async () => {
    const { child, ended, saw } = service(`${TWO_PARTS} service.onStop('stuck', () => new Promise(() => {}));`, {
      STOP_TIMEOUT_MS: '200',
    });
    await saw('"started"');
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code).toBe(1);
    expect(output).toContain('"current":"stuck"');
  });

  it('under SUPERVISED=1 the end of stdin stops the service; without it, it does not', async () => {
    const supervised = service(TWO_PARTS, { SUPERVISED: '1' });
    await supervised.saw('"started"');
    supervised.child.stdin?.end();
    expect((await supervised.ended).code).toBe(0);

    const free = service(`${TWO_PARTS} process.stdin.on('end', () => console.log('stdin ended')).resume();`);
    await free.saw('"started"');
    free.child.stdin?.end();
    await free.saw('stdin ended');
    expect(free.child.exitCode).toBeNull();
    free.child.kill('SIGTERM');
    expect((await free.ended).code).toBe(0);
  });

  it('a wrong configuration exits with 78 and one line that names the variable', async () => {
    const { code, output } = await service('', { NEEDED: '' }).ended;
    expect(code).toBe(78);
    expect(output).toBe('specimen: the configuration is wrong\n  NEEDED: is missing (a test needs it)\n');
  });

  it('a start that fails closes what was opened and exits with 1', async () => {
    const { code, output } = await service(`${TWO_PARTS} throw new Error('no luck');`).ended;
    expect(code).toBe(1);
    expect(output).toContain('cannot start: no luck');
    expect(output).toContain('closed first');
  });

  it('a signal during the start closes what the start opened after it', async () => {
    const { child, ended, saw } = service(`
      const busy = setInterval(() => undefined, 1000);
      console.log('begun');
      await new Promise((done) => service.signal.addEventListener('abort', done));
      ${TWO_PARTS}`);
    await saw('begun');
    child.kill('SIGTERM');
    const { code, output } = await ended;
    expect(code).toBe(0);
    expect(output).toContain('closed first');
    expect(output).not.toContain('"started"');
  });

  it('an unhandled rejection is logged and exits with 1', async () => {
    const { code, output } = await service(`${KEEP_ALIVE} void Promise.reject(new Error('forgotten'));`).ended;
    expect(code).toBe(1);
    expect(output).toContain('unhandled rejection');
    expect(output).toContain('forgotten');
  });

  it('fail() stops in order and exits with 1', async () => {
    const { code, output } = await service(`${TWO_PARTS} service.fail(new Error('loop died'));`).ended;
    expect(code).toBe(1);
    expect(output).toContain('loop died');
    expect(output).toContain('closed first');
  });

  it('serves health, readiness with reasons and metrics on HEALTH_PORT', async () => {
    const { saw } = service(
      `${KEEP_ALIVE} service.readiness.add('database', () => { throw new Error('unreachable'); });`,
      { HEALTH_PORT: '0' },
    );
    const port = Number(/"port":(\d+)/.exec(await saw('"started"'))?.[1]);
    const base = `http://127.0.0.1:${port}`;
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
    const ready = await fetch(`${base}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({
      service: 'specimen',
      ready: false,
      components: [
        { name: 'process', ready: true },
        { name: 'database', ready: false, reason: 'unreachable' },
      ],
    });
    const metrics = await (await fetch(`${base}/metrics`)).text();
    expect(metrics).toMatch(/process_cpu_seconds_total\{service="specimen"\}/);
    expect((await fetch(`${base}/else`)).status).toBe(404);
  });
});
