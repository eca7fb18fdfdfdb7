import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { processIdentity } from '#lib/postgres/process-identity.ts';
import { type Home, homeAt } from '../../../cli/start/home.ts';
import type { LivenessPolicy } from '../../../cli/start/liveness-watch.ts';
import { type Platform, startPlatform } from '../../../cli/start/platform.ts';
import type { PlatformEvent } from '../../../cli/start/platform-event.ts';
import { SERVICES, type ServiceDefinition } from '../../../cli/start/services.ts';
import { eventually } from '../eventually.ts';
import { RestClient } from './rest-client.ts';
import { makeProject } from './tiny-jobs.ts';

export type Settings = Readonly<Record<string, string>>;

/**
 * Seconds instead of minutes. Two seconds without a heartbeat are ten missed ones: less, and a busy machine loses leases of healthy workers.
 */
export const FAST: Settings = {
  HEARTBEAT_EVERY_MS: '200',
  HEARTBEAT_TIMEOUT_MS: '2000',
  ACCEPT_TIMEOUT_MS: '3000',
  ANNOUNCE_EVERY_MS: '200',
  WORKER_TIMEOUT_MS: '2000',
  RETRY_INITIAL_MS: '100',
  // Tests look every millisecond.
  RATE_LIMIT_PER_MINUTE: '0',
};

/** Another worker of the same lane, as a second node would run it. */
export function secondWorker(name: 'cpu-worker' | 'gpu-worker'): ServiceDefinition {
  const first = SERVICES.find((service) => service.name === name);
  if (first === undefined) throw new Error(name);
  return { ...first, name: `${name}-2`, environment: () => ({ WORKER_ID: `${name}-2` }) };
}

/** The fake training program as TRAINER_COMMAND wants it. */
export const SCRIPTED_TRAINER = JSON.stringify([
  process.execPath,
  join(import.meta.dirname, '../fixtures/trainers/scripted.ts'),
]);

export interface E2ePlatformOptions {
  /** Over `FAST`, by service name or `*`. */
  readonly overrides?: Readonly<Record<string, Settings>>;
  /** Besides the five of the product: a second worker of a lane, say. */
  readonly moreServices?: readonly ServiceDefinition[];
  /** Of the distributed profile. */
  readonly ports?: Settings;
  /** For tests that stop processes for longer than the supervisor would watch. */
  readonly liveness?: LivenessPolicy;
}

/** A running platform of real processes that a test file shares. */
export class E2ePlatform {
  readonly home: Home;
  readonly events: PlatformEvent[] = [];
  readonly #overrides: Readonly<Record<string, Settings>>;
  readonly #services: readonly ServiceDefinition[];
  readonly #liveness: LivenessPolicy | undefined;
  readonly #ports: Settings;
  #platform: Platform | null = null;
  #adminKey = '';

  constructor(folder: string, { overrides = {}, moreServices = [], ports = {}, liveness }: E2ePlatformOptions) {
    this.home = homeAt(folder);
    this.#overrides = { ...overrides, '*': { ...FAST, ...overrides['*'] } };
    this.#services = [...SERVICES, ...moreServices];
    this.#liveness = liveness;
    this.#ports = ports;
  }

  async start(): Promise<void> {
    this.#platform = await startPlatform({
      home: this.home.root,
      environment: process.env,
      gatewayPort: 0,
      logLevel: 'info',
      overrides: this.#overrides,
      services: this.#services,
      ports: this.#ports,
      // Tests kill the same service again and again: no growing pauses.
      healthyAfterMs: 1,
      ...(this.#liveness === undefined ? {} : { liveness: this.#liveness }),
      onEvent: (event) => this.events.push(event),
    });
    this.#adminKey = (await readFile(this.home.adminKeyFile, 'utf8')).trim();
  }

  async stop(): Promise<void> {
    await this.#platform?.stop();
    this.#platform = null;
  }

  get platform(): Platform {
    if (this.#platform === null) throw new Error('the platform does not run');
    return this.#platform;
  }

  get overrides(): Readonly<Record<string, Settings>> {
    return this.#overrides;
  }

  /** The same files the services use. */
  get store(): ObjectStore {
    return openObjectStore(pathToFileURL(this.home.objects).href);
  }

  /** A client that names `project` where one is needed; with the admin's key. */
  client(project: string): RestClient {
    return new RestClient({ baseUrl: () => this.platform.gatewayUrl, key: () => this.#adminKey, project });
  }

  /** A project with the dataset `tiny`, and its client. */
  async project(id: string, change: object = {}): Promise<RestClient> {
    const client = this.client(id);
    await makeProject(this.client(id), client, change);
    return client;
  }

  pidOf(name: string): number {
    return this.platform.process(name).pid;
  }

  /** kill -9; resolves with the number of the dead process once it is gone. */
  async killService(name: string): Promise<number> {
    const pid = this.pidOf(name);
    process.kill(pid, 'SIGKILL');
    await eventually(async () => (await processIdentity(pid)) === null, { everyMs: 5 });
    return pid;
  }

  /** Waits until the service runs as another process than `oldPid` and is ready. */
  async readyAgain(name: string, oldPid: number): Promise<number> {
    return eventually(
      () => {
        const crashed = this.events.findIndex((event) => event.type === 'process_crashed' && event.pid === oldPid);
        const ready = this.events
          .slice(crashed + 1)
          .findLast((event) => event.type === 'process_ready' && event.name === name);
        if (crashed < 0 || ready?.type !== 'process_ready') throw new Error(`${name} is not ready again`);
        return ready.pid;
      },
      { withinMs: 30_000 },
    );
  }

  async logTail(lines = 25): Promise<string> {
    const names = this.#services.map(({ name }) => name).filter((name) => name !== 'drift-monitor');
    const tails = names.map(async (name) => {
      const text = await readFile(this.home.logFile(name), 'utf8').catch(() => '(no log)');
      const told = text.split('\n').filter((line) => !/"level":(10|20)|"http request"/.test(line));
      return `--- ${name}\n${told.slice(-lines).join('\n')}`;
    });
    return (await Promise.all(tails)).join('\n');
  }
}

/** Starts a platform before the tests of the file and stops it after them; a failed test prints the end of the logs. */
export function e2ePlatform(options: E2ePlatformOptions = {}): () => E2ePlatform {
  let running: E2ePlatform | null = null;
  const get = (): E2ePlatform => {
    if (running === null) throw new Error('the platform is not started yet');
    return running;
  };
  beforeAll(async () => {
    running = new E2ePlatform(await mkdtemp(join(tmpdir(), 'trainyard-e2e-')), options);
    await running.start();
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') console.error(`${task.name}\n${await running?.logTail()}`);
  });
  afterAll(async () => {
    const processes = running?.events.flatMap((event) => (event.type === 'process_started' ? [event.pid] : [])) ?? [];
    await running?.stop();
    const left = await Promise.all(processes.map(processIdentity));
    expect(left.filter((process) => process !== null)).toEqual([]);
    if (running !== null) await rm(running.home.root, { recursive: true, force: true });
  });
  return get;
}
