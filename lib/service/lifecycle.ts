import type { Static, TObject } from '#typebox';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { ConfigError, type Environment, readConfig, type ServiceConfig } from './config.ts';
import { startHealthServer } from './health-server.ts';
import { createLogger, type Logger } from './logger.ts';
import { createMetrics, type Registry } from './metrics.ts';
import { collectWhenQuiet } from './quiet-collector.ts';
import { Readiness } from './readiness.ts';

/** Exit codes of a service; 78 is EX_CONFIG of sysexits.h. */
const SERVICE_EXIT = { stopped: 0, failed: 1, badConfig: 78 } as const;

export interface ServiceContext<Config> {
  readonly name: string;
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** Add a check per component the service depends on; `/readyz` shows them. */
  readonly readiness: Readiness;
  /** Aborted when the stop begins: loops end, waits end early. */
  readonly signal: AbortSignal;
  /** Registers how to stop what was just started. Called in reverse order of registration, one after the other; a failing one stops no other. */
  onStop(what: string, stop: () => unknown): void;
  /** Something the service cannot live without has died: logs, stops in order and exits with 1, so that the supervisor starts it anew. */
  fail(error: unknown): void;
}

export interface ServiceDefinition<T extends TObject> {
  readonly name: string;
  /** A TypeBox object over environment variable names; it must spread `SERVICE_VARIABLES`. */
  readonly config: T;
  /** `process.env`, read by `main.ts` only. */
  readonly environment: Environment;
  /** Opens everything and returns; the process then lives until a signal, a closed stdin (SUPERVISED=1) or `fail`. */
  readonly start: (service: ServiceContext<Static<T>>) => Promise<void>;
}

/**
 * The life of a service process, from reading its configuration to its exit code. Call it once, as the last statement of `main.ts`.
 *
 * 1. Configuration; wrong: one line per variable on stderr, exit 78.
 * 2. Health server (HEALTH_PORT), so that `/readyz` says "starting" from the first moment.
 * 3. `start`; failing: log, stop what was opened, exit 1, or 78 when it refuses a variable (`ValidationFailed` with a pointer to it).
 * 4. SIGTERM, SIGINT, or the end of stdin under SUPERVISED=1: stop in reverse order within STOP_TIMEOUT_MS, exit 0, or 1 when the time ran out.
 *    Further signals change nothing: Ctrl-C reaches a process both from the terminal and from its supervisor.
 * 5. An unhandled rejection or exception is a bug: log, exit 1 at once, without pretending that the state is good enough to stop in order.
 */
export async function runService<const T extends TObject>(definition: ServiceDefinition<T>): Promise<void> {
  const config = configOrExit(definition);
  const common = config as unknown as ServiceConfig;
  const logger = createLogger({ service: definition.name, level: common.LOG_LEVEL });
  const life = new Life(definition.name, logger, common.STOP_TIMEOUT_MS);
  crashOnBugs(logger);
  collectWhenQuiet();
  process.on('SIGTERM', () => life.stop('SIGTERM', SERVICE_EXIT.stopped));
  process.on('SIGINT', () => life.stop('SIGINT', SERVICE_EXIT.stopped));
  if (common.SUPERVISED) onStdinEnd(() => life.stop('the supervisor is gone', SERVICE_EXIT.stopped));

  const metrics = createMetrics(definition.name);
  const service: ServiceContext<Static<T>> = {
    name: definition.name,
    config,
    logger,
    metrics,
    readiness: life.readiness,
    signal: life.signal,
    onStop: (what, stop) => life.onStop(what, stop),
    fail: (error) => {
      logger.fatal({ err: error }, 'the service cannot go on');
      life.stop('failure', SERVICE_EXIT.failed);
    },
  };
  await life.starting(async () => {
    if (common.HEALTH_PORT !== undefined) {
      const { HOST: host, HEALTH_PORT: port } = common;
      const server = await startHealthServer({ host, port, readiness: life.readiness, metrics });
      life.onStop('health server', () => server.close());
      logger.info({ port: server.port }, 'health server listens');
    }
    await definition.start(service);
  });
}

function configOrExit<T extends TObject>({ name, config, environment }: ServiceDefinition<T>): Static<T> {
  try {
    return readConfig(config, environment);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${name}: the configuration is wrong\n${error.message.replaceAll(/^/gm, '  ')}\n`);
    return process.exit(SERVICE_EXIT.badConfig);
  }
}

/** Environment variables that a refusal points at: what only their reader can judge (a URL's parts, a file) is found out at the start. */
function variablesIn(error: unknown): string[] {
  if (!(error instanceof TrainyardError) || error.code !== 'ValidationFailed') return [];
  return error.fields.map(({ pointer }) => pointer.slice(1)).filter((name) => /^[A-Z][A-Z0-9_]+$/.test(name));
}

function crashOnBugs(logger: Logger): void {
  process.on('unhandledRejection', (error) => {
    logger.fatal({ err: error }, 'unhandled rejection');
    process.exit(SERVICE_EXIT.failed);
  });
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'uncaught exception');
    process.exit(SERVICE_EXIT.failed);
  });
}

function onStdinEnd(stop: () => void): void {
  process.stdin.on('end', stop);
  process.stdin.on('close', stop);
  process.stdin.on('error', stop);
  process.stdin.resume();
}

/** Start and stop of one process; the stop happens once, whoever asks first. */
class Life {
  readonly readiness: Readiness;
  readonly #logger: Logger;
  readonly #stopTimeoutMs: number;
  readonly #abort = new AbortController();
  readonly #stops: { what: string; stop: () => unknown }[] = [];
  #start: Promise<void> = Promise.resolve();

  constructor(service: string, logger: Logger, stopTimeoutMs: number) {
    this.readiness = new Readiness(service);
    this.#logger = logger;
    this.#stopTimeoutMs = stopTimeoutMs;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onStop(what: string, stop: () => unknown): void {
    this.#stops.push({ what, stop });
  }

  async starting(start: () => Promise<void>): Promise<void> {
    const begunAt = performance.now();
    this.#start = start();
    try {
      await this.#start;
      if (this.signal.aborted) return;
      this.readiness.serving();
      this.#logger.info({ startMs: Math.round(performance.now() - begunAt) }, 'started');
    } catch (error) {
      // A start that was interrupted by a stop may well fail; the stop decides the exit code.
      if (this.signal.aborted) return;
      this.#logger.fatal({ err: error }, `cannot start: ${messageOf(error)}`);
      // A new start would read the same variables: whoever supervises must not try again and again.
      const wrongSetting = variablesIn(error).length > 0;
      if (wrongSetting) process.stderr.write(`the configuration is wrong\n  ${messageOf(error)}\n`);
      this.stop('the start failed', wrongSetting ? SERVICE_EXIT.badConfig : SERVICE_EXIT.failed);
    }
  }

  stop(reason: string, exitCode: number): void {
    if (this.signal.aborted) return;
    this.#logger.info({ reason }, 'stopping');
    this.readiness.stopping();
    this.#abort.abort(new Error(`stopping: ${reason}`));
    let current = 'start';
    setTimeout(() => {
      this.#logger.error({ current, waiting: this.#stops.map(({ what }) => what) }, 'the stop took too long');
      process.exit(SERVICE_EXIT.failed);
    }, this.#stopTimeoutMs);
    void this.#stopAll((what) => {
      current = what;
    }).then((clean) => {
      this.#logger.info({ clean }, 'stopped');
      process.exit(clean ? exitCode : SERVICE_EXIT.failed);
    });
  }

  async #stopAll(onCurrent: (what: string) => void): Promise<boolean> {
    // What `start` opens while it is interrupted must be closed too.
    await this.#start.catch(() => undefined);
    let clean = true;
    for (let next = this.#stops.pop(); next !== undefined; next = this.#stops.pop()) {
      const { what, stop } = next;
      onCurrent(what);
      try {
        await stop();
      } catch (error) {
        clean = false;
        this.#logger.error({ err: error, what }, 'could not stop in order');
      }
    }
    return clean;
  }
}
