import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#lib/kernel/errors.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '#lib/postgres/embedded-server.ts';
import type { Home } from './home.ts';
import { freePort } from './local-ports.ts';
import type { OnPlatformEvent, ProcessExit } from './platform-event.ts';
import type { ProcessRecord } from './process-record.ts';
import { crashesInARow, restartDelayMs } from './restart-policy.ts';

const NAME = 'postgres';

/** Keeps the embedded PostgreSQL alive on one URL: the services reconnect by themselves after a crash. */
export class SupervisedPostgres {
  readonly url: string;
  readonly #home: Home;
  readonly #record: ProcessRecord;
  readonly #onEvent: OnPlatformEvent;
  readonly #stop = new AbortController();
  readonly #life: Promise<void>;
  #server: EmbeddedPostgres | null;

  /** Resolves when the server answers; throws as `startEmbeddedPostgres` does. */
  static async start(home: Home, record: ProcessRecord, onEvent: OnPlatformEvent): Promise<SupervisedPostgres> {
    const startedAt = performance.now();
    const server = await startEmbeddedPostgres({ ...optionsOf(home), port: await freePort() });
    return new SupervisedPostgres(home, record, onEvent, server, startedAt);
  }

  private constructor(
    home: Home,
    record: ProcessRecord,
    onEvent: OnPlatformEvent,
    server: EmbeddedPostgres,
    startedAt: number,
  ) {
    this.#home = home;
    this.#record = record;
    this.#onEvent = onEvent;
    this.#server = server;
    this.url = server.url;
    this.#life = this.#live(server, startedAt);
  }

  get pid(): number | null {
    return this.#server?.pid ?? null;
  }

  async stop(withinMs: number): Promise<void> {
    this.#stop.abort();
    await this.#server?.stop({ withinMs });
    await this.#life;
  }

  async #live(first: EmbeddedPostgres, firstStartedAt: number): Promise<void> {
    let server: EmbeddedPostgres | null = first;
    let startedAt = firstStartedAt;
    let crashes = 0;
    while (server !== null) {
      const { pid, port } = server;
      const readyAt = performance.now();
      await this.#record.started(NAME, pid, null);
      this.#onEvent({ type: 'process_started', name: NAME, pid });
      this.#onEvent({ type: 'process_ready', name: NAME, pid, afterMs: readyAt - startedAt });

      const exit = await server.exited;
      const endedAt = performance.now();
      this.#server = null;
      this.#record.ended(NAME);
      if (this.#stop.signal.aborted) {
        this.#onEvent({ type: 'process_stopped', name: NAME, exit, killed: exit.signal === 'SIGKILL' });
        return;
      }
      crashes = crashesInARow(crashes, endedAt - readyAt);
      const again = await this.#startAgain({ pid, exit, afterMs: endedAt - startedAt, crashes, port });
      server = again?.server ?? null;
      startedAt = again?.startedAt ?? endedAt;
      this.#server = server;
    }
  }

  /**
   * Tries until the server answers; null when we are stopped meanwhile. On the same port, which is part of the URL the services hold.
   */
  async #startAgain(crash: Crash): Promise<{ server: EmbeddedPostgres; startedAt: number } | null> {
    const { signal } = this.#stop;
    for (let { crashes, pid, exit, afterMs } = crash; ; crashes++) {
      const restartInMs = restartDelayMs(crashes);
      this.#onEvent({ type: 'process_crashed', name: NAME, pid, exit, afterMs, restartInMs });
      await delay(restartInMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return null;
      const startedAt = performance.now();
      try {
        const server = await startEmbeddedPostgres({ ...optionsOf(this.#home), port: crash.port });
        if (!signal.aborted) return { server, startedAt };
        await server.stop();
        return null;
      } catch (error) {
        pid = null;
        exit = { code: null, signal: null, error: messageOf(error) };
        afterMs = performance.now() - startedAt;
      }
    }
  }
}

interface Crash {
  readonly pid: number | null;
  readonly exit: ProcessExit;
  readonly afterMs: number;
  readonly crashes: number;
  readonly port: number;
}

const optionsOf = (home: Home): { dataDir: string; logFile: string } => ({
  dataDir: home.postgresData,
  logFile: home.logFile(NAME),
});
