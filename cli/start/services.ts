import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Home } from './home.ts';

/** One service process of the embedded profile. */
export interface ServiceDefinition {
  readonly name: string;
  /** What it calls itself on `/readyz`; a second one of a kind has another `name`. Absent: not compared. */
  readonly service?: string;
  /** The program: a `.ts` file. */
  readonly entry: string;
  /** The gateway answers `/readyz` on its public port; every other service gets a free HEALTH_PORT at each start. */
  readonly port: 'GATEWAY_PORT' | 'HEALTH_PORT';
  /** Options of Node for this service. */
  readonly nodeOptions?: readonly string[];
  /** Variables of this service alone. */
  readonly environment?: (
    settings: Pick<ServiceSettings, 'home' | 'inferencePort'>,
  ) => Readonly<Record<string, string>>;
}

const SERVICES_FOLDER = resolve(import.meta.dirname, '../../services');
const entryOf = (name: string): string => join(SERVICES_FOLDER, name, 'main.ts');

/** They give memory back when they are quiet (lib/service/quiet-collector.ts). */
const COLLECTS = '--expose-gc';
/** They allocate little, and V8's 16 MB are filled before anything is collected: 16 MB less of each while idle. */
const SMALL_YOUNG_GENERATION = ['--max-semi-space-size=1', COLLECTS];

/** The five services, as in production; all are started at once and need no order. */
export const SERVICES: readonly ServiceDefinition[] = [
  {
    name: 'orchestrator',
    service: 'orchestrator',
    entry: entryOf('orchestrator'),
    port: 'HEALTH_PORT',
    // Its batches live for some hundred milliseconds: with V8's 16 MB they are copied into the old generation (1,865 instead of 2,220 runs/s).
    nodeOptions: ['--max-semi-space-size=32', COLLECTS],
    environment: () => ({ ORCHESTRATOR_ID: 'local' }),
  },
  {
    name: 'gateway',
    service: 'gateway',
    entry: entryOf('gateway'),
    port: 'GATEWAY_PORT',
    nodeOptions: [COLLECTS],
    environment: ({ home, inferencePort }) => ({
      ADMIN_KEY_FILE: home.adminKeyFile,
      INFERENCE_URL: `http://127.0.0.1:${inferencePort}`,
    }),
  },
  {
    name: 'cpu-worker',
    service: 'cpu-worker',
    entry: entryOf('cpu-worker'),
    port: 'HEALTH_PORT',
    nodeOptions: SMALL_YOUNG_GENERATION,
  },
  {
    name: 'gpu-worker',
    service: 'gpu-worker',
    entry: entryOf('gpu-worker'),
    port: 'HEALTH_PORT',
    nodeOptions: SMALL_YOUNG_GENERATION,
    environment: ({ inferencePort }) => ({ INFERENCE_PORT: String(inferencePort) }),
  },
  {
    name: 'drift-monitor',
    service: 'drift-monitor',
    entry: entryOf('drift-monitor'),
    port: 'HEALTH_PORT',
    nodeOptions: SMALL_YOUNG_GENERATION,
  },
];

/** Everything a service is told besides its port; over what it inherits from the caller's environment. */
export interface ServiceSettings {
  readonly home: Home;
  readonly databaseUrl: string;
  /** Where the gateway asks the GPU worker for completions; the same over all restarts of both. */
  readonly inferencePort: number;
  /** Bus, registry and stores that are not the embedded ones. */
  readonly ports: Readonly<Record<string, string>>;
  readonly logLevel: string;
  /** How long a service may take to stop before it exits by itself; shorter than the supervisor's own patience. */
  readonly stopTimeoutMs: number;
  /** The caller's environment: PATH, and whatever setting of a service somebody wants to change. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** Last word, by service name or `*` for all. */
  readonly overrides: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/**
 * The environment of one start of a service. The variables of the table are set here and never inherited: DATABASE_URL and HOST are names
 * that shells and other projects use too.
 *
 * SUPERVISED=1 means: standard input is a pipe that the supervisor holds open; when it closes, the supervisor is dead, and the service stops.
 */
export function serviceEnvironment(
  service: ServiceDefinition,
  port: number,
  settings: ServiceSettings,
): Record<string, string> {
  const { home } = settings;
  const table = {
    SUPERVISED: '1',
    // glibc's heaps for other threads keep 4 MB of each process; hardly anything here allocates outside of V8 (Linux only, ignored elsewhere).
    MALLOC_ARENA_MAX: '1',
    HOST: '127.0.0.1',
    [service.port]: String(port),
    DATABASE_URL: settings.databaseUrl,
    BUS_URL: 'postgres:',
    OBJECT_STORE_URL: pathToFileURL(home.objects).href,
    MODEL_REGISTRY_URL: 'postgres:',
    WORKSPACE_DIR: home.workspace,
    TRAINYARD_HOME: home.root,
    LOG_LEVEL: settings.logLevel,
    STOP_TIMEOUT_MS: String(settings.stopTimeoutMs),
    ...service.environment?.(settings),
    ...settings.ports,
  };
  // Neither port may come from outside: the other one would open a second server.
  const { GATEWAY_PORT: _gateway, HEALTH_PORT: _health, ...inherited } = withoutNpm(settings.inherited);
  return { ...inherited, ...table, ...settings.overrides['*'], ...settings.overrides[service.name] };
}

/** `npm start` adds some forty npm_* variables of no use to a service. */
function withoutNpm(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment))
    if (value !== undefined && !/^npm_/i.test(name)) kept[name] = value;
  return kept;
}
