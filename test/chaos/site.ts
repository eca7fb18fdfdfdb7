import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openObjectStore } from '#lib/object-store/open.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import { Database } from '#lib/postgres/database.ts';
import { startPlatform, type Platform } from '../../cli/start/platform.ts';
import type { PlatformEvent } from '../../cli/start/platform-event.ts';
import { SERVICES, type ServiceDefinition } from '../../cli/start/services.ts';
import { startKafka, type RunningKafka } from '../../scripts/peers/kafka.ts';
import { startMlflow } from '../../scripts/peers/mlflow.ts';
import { startS3Server } from '../../scripts/peers/s3-server.ts';
import { startSchemaRegistry } from '../../scripts/peers/schema-registry.ts';
import type { PeerProcess } from '../../scripts/peers/start-options.ts';
import { RestClient } from '../support/e2e/rest-client.ts';
import type { Target } from './fault-plan.ts';

export interface SiteOptions {
  /** Everything lies here. */
  readonly folder: string;
  /** `process.env` of the caller. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly bus: 'postgres' | 'kafka';
  readonly kafkaNodes: 1 | 3;
  /** A schema registry of somebody else, which is then never struck; null: our own. */
  readonly schemaRegistryUrl: string | null;
  readonly store: 'file' | 's3';
  readonly registry: 'postgres' | 'mlflow';
  /** A second orchestrator and a second worker in each lane. */
  readonly twins: boolean;
  readonly gpuSlots: number;
  /** Probes a second apart that a process may miss before the supervisor kills it. */
  readonly missedProbes: number;
}

/** Peers of a site that run as processes of its own; null: not used, or somebody else's. */
export interface SitePeers {
  readonly kafka: RunningKafka | null;
  readonly 'schema-registry': PeerProcess | null;
  readonly s3: PeerProcess | null;
  readonly mlflow: (PeerProcess & { readonly url: string }) | null;
}

/** A whole platform of real processes with the peers it stands on. */
export interface Site {
  readonly platform: Platform;
  readonly peers: SitePeers;
  readonly services: readonly ServiceDefinition[];
  /** Everything the supervisor said so far. */
  readonly events: readonly (PlatformEvent & { readonly atMs: number })[];
  /** The variables the services were given besides the embedded ones. */
  readonly ports: Readonly<Record<string, string>>;
  /** For looking at the platform from the outside; nobody writes through it. */
  readonly database: Database;
  readonly store: ObjectStore;
  /** With the admin's key. */
  readonly adminKey: string;
  readonly client: RestClient;
  /** What can be struck here. */
  readonly targets: readonly Target[];
  stop(): Promise<void>;
}

export const PROJECT = 'chaos';

/**
 * Seconds instead of minutes: leases of 3 s at six heartbeats each. Back-off is the product's own: how long it bridges an outage of a store is
 * one of the questions.
 */
const FAST = {
  HEARTBEAT_EVERY_MS: '500',
  HEARTBEAT_TIMEOUT_MS: '3000',
  ACCEPT_TIMEOUT_MS: '4000',
  ANNOUNCE_EVERY_MS: '500',
  WORKER_TIMEOUT_MS: '3000',
  // Longer than an outage of a store lasts here: an attempt that waits for one makes no step.
  STALL_FLOOR_MS: '25000',
  STALL_FACTOR: '4',
  RATE_LIMIT_PER_MINUTE: '0',
};

const TRAINER = JSON.stringify([
  process.execPath,
  join(import.meta.dirname, '../support/fixtures/trainers/scripted.ts'),
]);

const BUCKET = 'trainyard';
/** Java, Python and six processes of Node at once on two busy cores. */
const READY_WITHIN_MS = 180_000;

/** Starts peers and platform; throws when one does not start, and leaves nothing running then. */
export async function startSite(options: SiteOptions): Promise<Site> {
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const { peers, ports } = await startPeers(options, undo);
    const events: (PlatformEvent & { atMs: number })[] = [];
    const services = servicesOf(options.twins);
    const platform = await startPlatform({
      home: join(options.folder, 'home'),
      environment: options.environment,
      gatewayPort: 0,
      logLevel: 'info',
      ports,
      services,
      overrides: { '*': FAST, ...workerSettings(services, options.gpuSlots) },
      readyWithinMs: READY_WITHIN_MS,
      liveness: { everyMs: 1_000, misses: options.missedProbes },
      // The same process is struck again and again: no growing pauses.
      healthyAfterMs: 1,
      onEvent: (event) => events.push({ ...event, atMs: Date.now() }),
    });
    undo.push(() => platform.stop());
    const database = new Database({ url: platform.databaseUrl, applicationName: 'chaos', maxConnections: 3 });
    undo.push(() => database.close());
    const adminKey = (await readFile(platform.adminKeyFile, 'utf8')).trim();
    return {
      platform,
      peers,
      services,
      events,
      ports,
      database,
      store: openObjectStore(ports['OBJECT_STORE_URL'] ?? pathToFileURL(platform.home.objects).href),
      adminKey,
      client: new RestClient({ baseUrl: () => platform.gatewayUrl, key: () => adminKey, project: PROJECT }),
      targets: targetsOf(peers),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Workers are known in the log by the names of their services. */
const workerSettings = (
  services: readonly ServiceDefinition[],
  gpuSlots: number,
): Record<string, Readonly<Record<string, string>>> =>
  Object.fromEntries(
    services
      .filter(({ name }) => name.includes('-worker'))
      .map(({ name }) => [name, { WORKER_ID: name, GPU_SLOTS: String(gpuSlots), TRAINER_COMMAND: TRAINER }]),
  );

function targetsOf(peers: SitePeers): Target[] {
  const always: Target[] = ['gateway', 'orchestrator', 'cpu-worker', 'gpu-worker', 'drift-monitor', 'trainer'];
  const running = (['kafka', 'schema-registry', 's3', 'mlflow'] as const).filter((name) => peers[name] !== null);
  return [...always, 'postgres', ...running];
}

async function startPeers(
  { folder, bus, kafkaNodes, schemaRegistryUrl, store, registry }: SiteOptions,
  undo: (() => Promise<unknown>)[],
): Promise<{ peers: SitePeers; ports: Record<string, string> }> {
  const ports: Record<string, string> = {};
  const stopped = <T extends { stop(): Promise<void> }>(peer: T): T => {
    undo.push(() => peer.stop());
    return peer;
  };
  const dir = (name: string): { dir: string } => ({ dir: join(folder, name) });
  const starting = {
    kafka: bus === 'kafka' ? startKafka({ ...dir('kafka'), nodes: kafkaNodes }).then(stopped) : null,
    schemas:
      bus === 'kafka' && schemaRegistryUrl === null ? startSchemaRegistry(dir('schema-registry')).then(stopped) : null,
    s3: store === 's3' ? startS3Server(dir('s3')).then(stopped) : null,
    mlflow: registry === 'mlflow' ? startMlflow(dir('mlflow')).then(stopped) : null,
  };
  // One that fails must not leave another one starting behind our back.
  await Promise.allSettled([starting.kafka, starting.schemas, starting.s3, starting.mlflow]);
  const [kafka, schemas, s3, mlflow] = [
    await starting.kafka,
    await starting.schemas,
    await starting.s3,
    await starting.mlflow,
  ];
  if (kafka !== null) {
    ports['BUS_URL'] = `kafka://${kafka.brokers.join(',')}`;
    ports['SCHEMA_REGISTRY_URL'] = schemaRegistryUrl ?? schemas?.url ?? '';
  }
  if (s3 !== null) {
    await s3.createBucket(BUCKET);
    ports['OBJECT_STORE_URL'] = `s3://${BUCKET}/data?endpoint=${s3.endpoint}&region=${s3.region}&pathStyle=true`;
    ports['AWS_ACCESS_KEY_ID'] = s3.accessKeyId;
    ports['AWS_SECRET_ACCESS_KEY'] = s3.secretAccessKey;
    // Our own look into the store takes its keys where the services take theirs.
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey });
  }
  if (mlflow !== null) ports['MODEL_REGISTRY_URL'] = `mlflow+${mlflow.url}`;
  return { peers: { kafka, 'schema-registry': schemas, s3, mlflow }, ports };
}

function servicesOf(twins: boolean): ServiceDefinition[] {
  if (!twins) return [...SERVICES];
  const second = (name: string, variable: string): ServiceDefinition => {
    const first = SERVICES.find((service) => service.name === name);
    if (first === undefined) throw new Error(`there is no service ${name}`);
    return { ...first, name: `${name}-2`, environment: () => ({ [variable]: `${name}-2` }) };
  };
  return [
    ...SERVICES,
    second('orchestrator', 'ORCHESTRATOR_ID'),
    second('cpu-worker', 'WORKER_ID'),
    second('gpu-worker', 'WORKER_ID'),
  ];
}
