import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '#lib/postgres/database.ts';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { eventually } from '../../test/support/eventually.ts';
import { FIXTURE_SERVICES } from '../../test/support/fixtures/platform.ts';
import { homeAt } from './home.ts';
import { type Platform, type PlatformOptions, startPlatform } from './platform.ts';
import type { PlatformEvent } from './platform-event.ts';
import { recordedProcesses } from './process-record.ts';

const BASE = { environment: process.env, gatewayPort: 0, services: FIXTURE_SERVICES };

describe('a running platform', () => {
  let home: string;
  let platform: Platform;
  const events: PlatformEvent[] = [];

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'trainyard-home-'));
    const overrides = { 'gpu-worker': { HEARTBEAT_MS: '500' } };
    platform = await startPlatform({ ...BASE, home, overrides, onEvent: (event) => events.push(event) });
  });
  afterAll(async () => {
    await platform.stop();
    await rm(home, { recursive: true });
  });

  it('is ready on every service, with its own settings and overrides', async () => {
    const gateway = await environmentOf(`${platform.gatewayUrl}/environment`);
    expect(gateway).toMatchObject({ ADMIN_KEY_FILE: join(home, 'admin.key'), DATABASE_URL: platform.databaseUrl });
    const worker = await environmentOf(urlOf(home, 'gpu-worker', '/environment'));
    expect(worker).toMatchObject({ HEARTBEAT_MS: '500', SUPERVISED: '1' });
    expect(worker).not.toHaveProperty('GATEWAY_PORT');
  });

  it('has a migrated database', async () => {
    const database = new Database({ url: platform.databaseUrl, applicationName: 'test', maxConnections: 1 });
    const { rows } = await database.query<{ n: number }>('select count(*)::int as n from schema_migrations');
    await database.close();
    expect(rows[0]?.n).toBeGreaterThan(0);
  });

  it('refuses a second one on the same home, naming the process', async () => {
    await expect(startPlatform({ ...BASE, home })).rejects.toMatchObject({
      code: 'HomeInUse',
      message: expect.stringContaining(`process ${process.pid}`),
    });
  });

  it('keeps logs, data and key folder from other users', async () => {
    for (const folder of ['logs', 'objects', 'workspace'])
      expect((await stat(join(home, folder))).mode & 0o777).toBe(0o700);
    await expect(readFile(join(home, 'logs', 'gateway.log'), 'utf8')).resolves.toMatch(/listens/);
  });

  it('starts a killed service again and ends the children it left behind', async () => {
    const { pid } = platform.process('gpu-worker');
    const child = Number(await text(urlOf(home, 'gpu-worker', '/child')));
    await expect(processIdentity(child)).resolves.not.toBeNull();
    process.kill(pid, 'SIGKILL');
    await readyAgain(events, 'gpu-worker', pid);
    expect(platform.process('gpu-worker').pid).not.toBe(pid);
    await expect(processIdentity(child)).resolves.toBeNull();
    const crash = events.find((event) => event.type === 'process_crashed' && event.pid === pid);
    expect(crash).toMatchObject({ name: 'gpu-worker', exit: { signal: 'SIGKILL' }, restartInMs: 250 });
    await expect(text(urlOf(home, 'gpu-worker', '/readyz'))).resolves.toBe('ready');
  });

  it('starts a killed PostgreSQL again on the same URL', async () => {
    const database = new Database({ url: platform.databaseUrl, applicationName: 'test', maxConnections: 1 });
    await database.query('create table kept (id int)');
    const { pid } = platform.process('postgres');
    process.kill(pid, 'SIGKILL');
    await readyAgain(events, 'postgres', pid);
    // Recovery included: no server opens a session at once.
    const ready = events.findLast((event) => event.type === 'process_ready' && event.name === 'postgres');
    expect(ready?.type === 'process_ready' && ready.afterMs).toBeGreaterThan(20);
    const { rows } = await eventually(() => database.query('select * from kept'));
    expect(rows).toEqual([]);
    await database.close();
  });

  it('stops everything within the bound and leaves no lock', async () => {
    const pids = ['gateway', 'gpu-worker', 'postgres'].map((name) => platform.process(name).pid);
    const begunAt = performance.now();
    await platform.stop();
    expect(performance.now() - begunAt).toBeLessThan(10_000);
    await expect(Promise.all(pids.map(processIdentity))).resolves.toEqual([null, null, null]);
    expect(await readdir(home)).not.toContain('platform.lock');
    expect(recordedProcesses(homeAt(home).recordFile)).toEqual([]);
    await expect(readFile(join(home, 'logs', 'gateway.log'), 'utf8')).resolves.toMatch(/stops: SIGTERM/);
  });
});

describe('a platform that cannot start or stop as it should', () => {
  let home: string;
  const start = async (options: Partial<PlatformOptions>): Promise<Platform> => {
    home = await mkdtemp(join(tmpdir(), 'trainyard-home-'));
    return startPlatform({ ...BASE, home, ...options });
  };
  afterEach(async () => {
    const left = recordedProcesses(homeAt(home).recordFile);
    if (left.length > 0) throw new Error(`processes are left: ${JSON.stringify(left)}`);
    if ((await readdir(home)).includes('platform.lock')) throw new Error('the lock is left');
    await rm(home, { recursive: true });
  });

  it('says which service is not ready, with the end of its log, and stops the rest', async () => {
    const crashes: (number | null)[] = [];
    const options = {
      overrides: { 'gpu-worker': { FIXTURE_EXIT: '3' } },
      onEvent: (event: PlatformEvent) => {
        if (event.type === 'process_crashed') crashes.push(event.restartInMs);
      },
    };
    await expect(start(options)).rejects.toMatchObject({
      code: 'ServiceNotReady',
      message: expect.stringMatching(
        /^gpu-worker: ended before .*tried 5 times.*exit code 3\n[^]*does not want to live/,
      ),
    });
    expect(crashes).toEqual([250, 500, 1_000, 2_000, null]);
  });

  it('does not try again when a service refuses its configuration', async () => {
    await expect(start({ overrides: { gateway: { FIXTURE_EXIT: '78' } } })).rejects.toThrow(/gateway: .*tried 1 times/);
  });

  it('gives up on a service that never answers', async () => {
    const services = FIXTURE_SERVICES.map((service) => ({ ...service, port: 'HEALTH_PORT' as const }));
    const overrides = { gateway: { HEALTH_PORT: '1' } };
    await expect(start({ services, overrides, readyWithinMs: 1_500 })).rejects.toThrow(/gateway: /);
  });

  it('refuses a gateway port that another program has', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    await expect(start({ gatewayPort: port })).rejects.toMatchObject({ code: 'PortInUse' });
    other.close();
  });

  it('can be interrupted while it starts', async () => {
    const stop = new AbortController();
    const onEvent = (event: PlatformEvent): void => {
      if (event.type === 'process_started' && event.name === 'gateway') stop.abort(new Error('SIGINT'));
    };
    await expect(start({ signal: stop.signal, onEvent })).rejects.toThrow('SIGINT');
  });

  it('kills a service that does not stop, with its children', async () => {
    const events: PlatformEvent[] = [];
    const overrides = { 'gpu-worker': { FIXTURE_DEAF: '1' } };
    const platform = await start({ overrides, stopServicesWithinMs: 1_000, onEvent: (event) => events.push(event) });
    const child = Number(await text(urlOf(home, 'gpu-worker', '/child')));
    const begunAt = performance.now();
    await platform.stop();
    expect(performance.now() - begunAt).toBeLessThan(4_000);
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'process_stopped', name: 'gpu-worker', killed: true }),
    );
    await expect(processIdentity(child)).resolves.toBeNull();
  });
});

async function readyAgain(events: readonly PlatformEvent[], name: string, oldPid: number): Promise<void> {
  await eventually(
    () => {
      const crashed = events.findIndex((event) => event.type === 'process_crashed' && event.pid === oldPid);
      return (
        crashed >= 0 && events.slice(crashed).some((event) => event.type === 'process_ready' && event.name === name)
      );
    },
    { withinMs: 20_000 },
  );
}

function urlOf(home: string, name: string, path: string): string {
  const entry = recordedProcesses(homeAt(home).recordFile).find((process) => process.name === name);
  return new URL(path, entry?.readyUrl ?? undefined).href;
}

const text = async (url: string): Promise<string> => (await fetch(url)).text();
const environmentOf = async (url: string): Promise<unknown> => JSON.parse(await text(url));
