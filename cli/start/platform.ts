import { readFile } from 'node:fs/promises';
import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { migrateMessaging } from '#lib/messaging/migrate.ts';
import { MessagingConfig } from '#lib/messaging/variables.ts';
import { Database } from '#lib/postgres/database.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { ConfigError, readConfig } from '#lib/service/config.ts';
import { type Home, homeAt, makeHome } from './home.ts';
import { lockHome } from './home-lock.ts';
import type { LivenessPolicy } from './liveness-watch.ts';
import { ensurePortFree, freePort } from './local-ports.ts';
import { boundLogs } from './log-files.ts';
import type { OnPlatformEvent } from './platform-event.ts';
import { ProcessRecord, stopLeftovers } from './process-record.ts';
import { SERVICES, type ServiceDefinition } from './services.ts';
import { SupervisedPostgres } from './supervised-postgres.ts';
import { SupervisedService } from './supervised-service.ts';

export interface PlatformOptions {
  /** TRAINYARD_HOME: all data lies below it. */
  readonly home: string;
  /** `process.env` of the caller; services inherit what the supervisor does not set itself (services.ts). */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** 0: a free one. Default 8080. */
  readonly gatewayPort?: number;
  /** Default `info`. */
  readonly logLevel?: string;
  /** A PostgreSQL of one's own instead of the embedded one. */
  readonly databaseUrl?: string;
  /**
   * Where bus, schema registry, object store and model registry are, by the names that services read (services.ts); absent: the embedded
   * ones. With Kafka, the migration step runs before the services.
   */
  readonly ports?: Readonly<Record<string, string>>;
  /** Variables by service name, `*` for all: over everything else. */
  readonly overrides?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Default: the five of the product. */
  readonly services?: readonly ServiceDefinition[];
  /** How long all services together may take to become ready; default 60,000. */
  readonly readyWithinMs?: number;
  /** How long services may take to stop before they are killed; default 6,500, which leaves PostgreSQL 2,500 of the promised 10 s. */
  readonly stopServicesWithinMs?: number;
  /** When a service that does not exit counts as hung, is killed and started again; default: no answer for 15 to 20 s. */
  readonly liveness?: LivenessPolicy;
  /** A service that was ready for this long is started again as quickly as after its first crash; default 30,000. */
  readonly healthyAfterMs?: number;
  readonly onEvent?: OnPlatformEvent;
  /** Ends a start that is still under way: what was started is stopped again, and `startPlatform` rejects with the reason. */
  readonly signal?: AbortSignal;
}

/** A running platform: PostgreSQL and the services, each restarted when it crashes, the services also when they hang. */
export interface Platform {
  readonly home: Home;
  readonly gatewayUrl: string;
  readonly databaseUrl: string;
  /** Holds the admin's API key once the gateway is ready. */
  readonly adminKeyFile: string;
  /** A service, or `postgres`. Throws while it is down between a crash and its restart. */
  process(name: string): { readonly pid: number };
  /** Services first (workers save checkpoints), then PostgreSQL; at most `stopServicesWithinMs` + 2,500. Idempotent. */
  stop(): Promise<void>;
}

export const DEFAULT_GATEWAY_PORT = 8080;
/** A start on two busy cores takes about 5 s; crash recovery of the database comes before and has its own bound. */
const READY_WITHIN_MS = 60_000;
const STOP_SERVICES_WITHIN_MS = 6_500;
/** A service gives up by itself this much earlier, so that its log says what hung. */
const STOP_MARGIN_MS = 500;
const STOP_POSTGRES_WITHIN_MS = 2_500;

/**
 * Starts the embedded profile and returns when every service is ready.
 *
 * Throws `HomeInUse`, `PortInUse`, `PostgresUnavailable`, `PostgresStartFailed`, `DatabaseIncompatible` or `ServiceNotReady` (with the end of the
 * service's log); nothing runs then. The caller turns signals into `stop()`. When this process dies without it, services and PostgreSQL stop by themselves
 * within seconds, and the next start cleans up what is left.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const home = homeAt(options.home);
  const onEvent = options.onEvent ?? (() => undefined);
  const undo: (() => Promise<void>)[] = [];
  const stop = once(async () => {
    for (const step of undo.reverse()) await step();
  });
  try {
    // 1. The home is ours alone, and nothing of an earlier run is alive.
    await makeHome(home);
    const lock = await lockHome(home.lockFile);
    undo.push(() => lock.release());
    await stopLeftovers(home.recordFile, ({ name, pid }) => onEvent({ type: 'leftover_found', name, pid }));
    const gatewayPort = await portOfGateway(options.gatewayPort ?? DEFAULT_GATEWAY_PORT);
    const services = options.services ?? SERVICES;
    const logs = boundLogs(['postgres', ...services.map(({ name }) => name)].map((name) => home.logFile(name)));
    undo.push(async () => logs.stop());

    // 2. The database, of this release.
    options.signal?.throwIfAborted();
    const record = new ProcessRecord(home.recordFile);
    const postgres = options.databaseUrl === undefined ? await SupervisedPostgres.start(home, record, onEvent) : null;
    if (postgres !== null) undo.push(() => postgres.stop(STOP_POSTGRES_WITHIN_MS));
    const databaseUrl = options.databaseUrl ?? postgres?.url;
    invariant(databaseUrl !== undefined, 'either a given database or ours');
    options.signal?.throwIfAborted();
    await migrateDatabase(databaseUrl, options.ports ?? {}, onEvent);

    // 3. The services, all at once.
    options.signal?.throwIfAborted();
    const stopWithinMs = options.stopServicesWithinMs ?? STOP_SERVICES_WITHIN_MS;
    const settings = {
      home,
      databaseUrl,
      inferencePort: await freePort(),
      ports: options.ports ?? {},
      logLevel: options.logLevel ?? 'info',
      stopTimeoutMs: stopWithinMs - STOP_MARGIN_MS,
      inherited: options.environment,
      overrides: options.overrides ?? {},
    };
    const running = services.map((definition) => {
      const port = definition.port === 'GATEWAY_PORT' ? gatewayPort : null;
      const { liveness, healthyAfterMs } = options;
      return new SupervisedService({ definition, port, settings, record, onEvent, liveness, healthyAfterMs });
    });
    undo.push(async () => void (await Promise.all(running.map((service) => service.stop(stopWithinMs)))));
    await allReady(running, home, options);

    return {
      home,
      gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
      databaseUrl,
      adminKeyFile: home.adminKeyFile,
      process: (name) => pidOf(name, name === 'postgres' ? postgres : running.find((service) => service.name === name)),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function pidOf(name: string, supervised: { readonly pid: number | null } | null | undefined): { pid: number } {
  if (supervised === null || supervised === undefined) throw new Error(`the platform has no process ${name}`);
  const { pid } = supervised;
  if (pid === null) throw new Error(`${name} is down at this moment`);
  return { pid };
}

async function portOfGateway(wanted: number): Promise<number> {
  if (wanted === 0) return freePort();
  await ensurePortFree(wanted);
  return wanted;
}

async function migrateDatabase(
  url: string,
  ports: Readonly<Record<string, string>>,
  onEvent: OnPlatformEvent,
): Promise<void> {
  const database = new Database({ url, applicationName: 'trainyard-migrate', maxConnections: 2 });
  try {
    onEvent({ type: 'database_migrated', result: await migrate(database) });
    const messaging = await migrateMessaging(readConfig(MessagingConfig, ports), database);
    if (messaging !== null) onEvent({ type: 'messaging_migrated', result: messaging });
  } catch (cause) {
    // PostgreSQL's own errors and those of the connection have a code and are shown as they are.
    if (!(cause instanceof Error) || 'code' in cause || cause instanceof ConfigError) throw cause;
    throw new TrainyardError('DatabaseIncompatible', cause.message, { cause });
  } finally {
    await database.close();
  }
}

/** Rejects as soon as one service is given up, the time is over, or the caller aborts. */
async function allReady(services: readonly SupervisedService[], home: Home, options: PlatformOptions): Promise<void> {
  const { readyWithinMs = READY_WITHIN_MS } = options;
  const late = AbortSignal.timeout(readyWithinMs);
  const interrupted = rejection(AbortSignal.any([late, ...(options.signal === undefined ? [] : [options.signal])]));
  const pending = new Set(services);
  const notReady = async (service: SupervisedService, why: string): Promise<never> => {
    const log = await endOfLog(home.logFile(service.name));
    throw new TrainyardError('ServiceNotReady', `${service.name}: ${why}\n${log}`);
  };
  const eachReady = services.map((service) =>
    service.firstReady.then(
      () => pending.delete(service),
      (error: unknown) => notReady(service, messageOf(error)),
    ),
  );
  try {
    await Promise.race([Promise.all(eachReady), interrupted.promise]);
  } catch (error) {
    options.signal?.throwIfAborted();
    const [first] = pending;
    if (late.aborted && first !== undefined)
      await notReady(first, `not ready within ${readyWithinMs / 1_000} s: ${first.lastRefusal}`);
    throw error;
  } finally {
    interrupted.release();
  }
}

/** A promise that rejects when the signal aborts; `release` ends the waiting. */
function rejection(signal: AbortSignal): { readonly promise: Promise<never>; release(): void } {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort);
  return { promise, release: () => signal.removeEventListener('abort', onAbort) };
}

const LOG_LINES_SHOWN = 12;

async function endOfLog(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN);
  return [`the end of ${file}:`, ...lines.map((line) => `  ${line}`)].join('\n');
}

function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  return () => (running ??= work());
}
