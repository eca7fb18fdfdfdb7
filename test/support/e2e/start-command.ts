import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { signalProcess } from '#lib/postgres/process-identity.ts';
import { homeAt } from '../../../cli/start/home.ts';
import { eventually } from '../eventually.ts';
import { FAST } from './platform.ts';
import { processTree } from './process-faults.ts';
import { RestClient } from './rest-client.ts';

const PROGRAM = join(import.meta.dirname, '../../../cli/main.ts');

/** A start takes 3 to 5 s on two cores, the recovery of a killed PostgreSQL comes on top. */
const READY_WITHIN_MS = 40_000;

/** `trainyard start` on a home, as `npm start` runs it: a process of its own with the five services of the product. */
export class StartCommand {
  readonly #home: string;
  readonly #child: ChildProcess;
  #output = '';
  /** Exit code and signal, once everything it printed has been read. */
  readonly exit: Promise<[code: number | null, signal: NodeJS.Signals | null]>;

  constructor(home: string) {
    this.#home = home;
    this.#child = spawn(process.execPath, [PROGRAM, 'start', '--home', home, '--gateway-port', '0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...FAST },
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.#output += chunk));
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.#output += chunk));
    this.exit = once(this.#child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  }

  /** What it printed so far. */
  get output(): string {
    return this.#output;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the command was not started');
    return pid;
  }

  get store(): ObjectStore {
    return openObjectStore(pathToFileURL(homeAt(this.#home).objects).href);
  }

  async ready(): Promise<this> {
    const isReady = eventually(() => this.#output.includes('Trainyard is ready.'), { withinMs: READY_WITHIN_MS });
    const ended = this.exit.then(([code]) => Promise.reject(new Error(`ended with ${code}: ${this.#output}`)));
    ended.catch(() => undefined);
    await Promise.race([isReady, ended]);
    return this;
  }

  /** With the admin's key. */
  client(project: string): RestClient {
    const url = /Gateway +(http:\S+)/.exec(this.#output)?.[1];
    if (url === undefined) throw new Error(`it named no gateway: ${this.#output}`);
    const key = readFileSync(homeAt(this.#home).adminKeyFile, 'utf8').trim();
    return new RestClient({ baseUrl: () => url, key: () => key, project });
  }

  /** What Ctrl-C in its terminal sends. Resolves with the exit code and how long it took. */
  async interrupt(): Promise<{ code: number | null; tookMs: number }> {
    const begunAt = performance.now();
    this.#child.kill('SIGINT');
    const [code] = await this.exit;
    return { code, tookMs: performance.now() - begunAt };
  }

  /** SIGKILL for everything that still runs; nothing when it has ended. */
  async kill(): Promise<void> {
    // A number that is not ours any more may be anybody's.
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    for (const pid of await processTree(this.pid)) signalProcess(pid, 'SIGKILL');
    await this.exit;
  }
}
