import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { signalProcess } from '#lib/postgres/process-identity.ts';
import { DEFAULT_LIVENESS, type LivenessPolicy, untilHung } from './liveness-watch.ts';
import { freePort } from './local-ports.ts';
import { withLog } from './log-files.ts';
import type { OnPlatformEvent, ProcessExit } from './platform-event.ts';
import type { ProcessRecord } from './process-record.ts';
import { untilReady } from './readiness-probe.ts';
import { crashesInARow, restartDelayMs } from './restart-policy.ts';
import { type ServiceDefinition, type ServiceSettings, serviceEnvironment } from './services.ts';

export interface SupervisedServiceOptions {
  readonly definition: ServiceDefinition;
  /** Fixed for the gateway, whose port people know; null: a free one at each start. */
  readonly port: number | null;
  readonly settings: ServiceSettings;
  readonly record: ProcessRecord;
  readonly onEvent: OnPlatformEvent;
  /** Default: 15 to 20 s. */
  readonly liveness?: LivenessPolicy | undefined;
  /** Ready for this long, its next crash counts as the first again; default 30,000. */
  readonly healthyAfterMs?: number | undefined;
}

/** EX_CONFIG: the service does not like its configuration and will not like it better next time. */
const EXIT_BAD_CONFIG = 78;
/** A service that has never been ready is given up after this many crashes (4 s of waiting in between): its log says why. */
const CRASHES_BEFORE_FIRST_READY = 5;

/**
 * Keeps one service process alive: start -> ready -> (crash -> wait -> start)* -> stop. A process that hangs is killed, which makes it a crash.
 *
 * The process leads a group of its own: Ctrl-C in a terminal reaches the supervisor alone, which decides the order of things, and
 * what a crashed or hung service leaves behind (a trainer) is killed with its group. Its standard input is a pipe that we hold open.
 */
export class SupervisedService {
  /** Resolves when the service is ready for the first time; rejects when it is given up before that, or stopped. */
  readonly firstReady: Promise<void>;
  readonly name: string;
  readonly #options: SupervisedServiceOptions;
  readonly #stop = new AbortController();
  readonly #first = Promise.withResolvers<void>();
  readonly #life: Promise<void>;
  #child: ChildProcess | null = null;
  #everReady = false;
  #killed = false;
  #lastRefusal = 'it was not started yet';

  constructor(options: SupervisedServiceOptions) {
    this.#options = options;
    this.name = options.definition.name;
    this.firstReady = this.#first.promise;
    // Whoever waits sees the rejection; a stop before anybody waits must not crash the supervisor.
    this.firstReady.catch(() => undefined);
    this.#life = this.#live();
  }

  /** Of the running process; null between a crash and the next start. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Why it was not ready when it was asked last. */
  get lastRefusal(): string {
    return this.#lastRefusal;
  }

  /** SIGTERM, then SIGKILL for the whole group after `withinMs`. Resolves when the process has ended. Idempotent. */
  async stop(withinMs: number): Promise<void> {
    this.#stop.abort();
    const pid = this.pid;
    if (pid === null) return this.#life;
    signalProcess(pid, 'SIGTERM');
    const timer = setTimeout(() => {
      this.#killed = true;
      signalProcess(-pid, 'SIGKILL');
    }, withinMs);
    await this.#life;
    clearTimeout(timer);
  }

  async #live(): Promise<void> {
    const { signal } = this.#stop;
    for (let crashes = 0; !signal.aborted; ) {
      const port = this.#options.port ?? (await freePort());
      if (signal.aborted) break;
      const { exit, pid, livedMs, readyMs } = await this.#oneProcess(port);
      if (signal.aborted) {
        this.#options.onEvent({ type: 'process_stopped', name: this.name, exit, killed: this.#killed });
        break;
      }
      crashes = crashesInARow(crashes, readyMs, this.#options.healthyAfterMs);
      const hopeless = !this.#everReady && (exit.code === EXIT_BAD_CONFIG || crashes >= CRASHES_BEFORE_FIRST_READY);
      const restartInMs = hopeless ? null : restartDelayMs(crashes);
      this.#options.onEvent({ type: 'process_crashed', name: this.name, pid, exit, afterMs: livedMs, restartInMs });
      if (restartInMs === null) {
        const how = exit.error ?? exit.signal ?? `exit code ${exit.code}`;
        this.#first.reject(new Error(`ended before it was ready (tried ${crashes} times), last with ${how}`));
        return;
      }
      await delay(restartInMs, undefined, { signal }).catch(() => undefined);
    }
    this.#first.reject(new Error('it was stopped before it was ready'));
  }

  /** From the start of a process to its end; `readyMs` is how long it was ready. */
  async #oneProcess(
    port: number,
  ): Promise<{ exit: ProcessExit; pid: number | null; livedMs: number; readyMs: number }> {
    const { definition, record, onEvent } = this.#options;
    const startedAt = performance.now();
    const child = this.#spawn(port);
    this.#child = child;
    const ended = new AbortController();
    const exited = new Promise<ProcessExit>((resolve) => {
      child.once('error', (error) => resolve({ code: null, signal: null, error: error.message }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const pid = child.pid ?? null;
    let readyAt: number | null = null;
    if (pid !== null) {
      const over = AbortSignal.any([ended.signal, this.#stop.signal]);
      const readyUrl = `http://127.0.0.1:${port}/readyz`;
      onEvent({ type: 'process_started', name: definition.name, pid });
      void this.#killWhenHung(pid, port, over);
      await record.started(definition.name, pid, readyUrl);
      const onRefusal = (reason: string): void => {
        this.#lastRefusal = reason;
      };
      void untilReady(readyUrl, over, onRefusal, definition.service).then((ready) => {
        if (!ready) return;
        readyAt = performance.now();
        onEvent({ type: 'process_ready', name: definition.name, pid, afterMs: readyAt - startedAt });
        this.#everReady = true;
        this.#first.resolve();
      });
    }
    const exit = await exited;
    ended.abort();
    this.#child = null;
    // Its trainers, if it was killed: they hold memory and write under an epoch that will be fenced off anyway.
    if (pid !== null) signalProcess(-pid, 'SIGKILL');
    record.ended(definition.name);
    const endedAt = performance.now();
    return { exit, pid, livedMs: endedAt - startedAt, readyMs: readyAt === null ? 0 : endedAt - readyAt };
  }

  /** Its trainers go with it: nobody reads what they print any more. A stop has its own patience and ends the watch. */
  async #killWhenHung(pid: number, port: number, over: AbortSignal): Promise<void> {
    const { definition, onEvent, liveness = DEFAULT_LIVENESS } = this.#options;
    const hang = await untilHung(`http://127.0.0.1:${port}/healthz`, liveness, over);
    if (hang === null) return;
    onEvent({ type: 'process_hung', name: definition.name, pid, ...hang });
    signalProcess(-pid, 'SIGKILL');
  }

  #spawn(port: number): ChildProcess {
    const { definition, settings } = this.#options;
    const child = withLog(settings.home.logFile(definition.name), (log) =>
      spawn(process.execPath, [...(definition.nodeOptions ?? []), definition.entry], {
        cwd: settings.home.root,
        env: serviceEnvironment(definition, port, settings),
        stdio: ['pipe', log, log],
        detached: true,
      }),
    );
    child.stdin?.on('error', () => undefined);
    return child;
  }
}
