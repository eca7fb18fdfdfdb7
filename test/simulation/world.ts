import type { Codec } from '#lib/contracts/codec.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import type { ModelVersion } from '#lib/model-registry/port.ts';
import { Broker } from './broker.ts';
import { Clients } from './client.ts';
import { connectionLost, deadlock } from './database-error.ts';
import { Faults } from './faults.ts';
import { Checks } from './invariants/checks.ts';
import { simulatedRegistry } from './job-kinds.ts';
import type { Life } from './life.ts';
import type { Mutation } from './mutation.ts';
import type { ProcessHost } from './process-host.ts';
import { gatewayHost, orchestratorHost, type OrchestratorHost, type ProcessWorld, workerHost } from './processes.ts';
import type { Workspace } from './sim-activities.ts';
import { type BusWorld, busUnavailable } from './sim-bus.ts';
import { SimDatabase } from './sim-database.ts';
import { RegistryTable, registryUnavailable } from './sim-model-registry.ts';
import { Network, type Server } from './sim-network.ts';
import { ObjectTable, storeUnavailable } from './sim-object-store.ts';
import type { StoreWorld } from './sim-orchestrator-store.ts';
import type { Simulator } from './simulator.ts';
import type { WorldConfig } from './world-config.ts';

/** Covers every job of a run, so that a refusal for money is a mistake of somebody's. */
const BUDGET_GPU_SECONDS = 1_000_000;

/** How often the broker looks for members whose session ran out. */
const EXPIRE_EVERY_MS = 500;

const server = (name: string, unreachable: () => Error, refusal: () => Error): Server => ({
  name,
  downUntilMs: 0,
  unreachable,
  refusal,
});

/** Servers, processes and checkers of one run. Built and started here; `chaos.ts` breaks it, `run-simulation.ts` drives it. */
export class World implements ProcessWorld {
  readonly sim: Simulator;
  readonly config: WorldConfig;
  readonly mutation: Mutation | null;
  readonly codec: Codec;
  readonly faults: Faults;
  readonly network: Network;
  readonly database = new SimDatabase();
  readonly broker: Broker;
  readonly objects = new ObjectTable();
  readonly models = new RegistryTable();
  readonly workspace: Workspace = new Map();
  readonly servers = {
    database: server('database', connectionLost, deadlock),
    bus: server('bus', busUnavailable, busUnavailable),
    objects: server('object store', storeUnavailable, storeUnavailable),
    models: server('model registry', registryUnavailable, registryUnavailable),
  };
  readonly registry: ReturnType<typeof simulatedRegistry>;
  readonly checks: Checks;
  readonly orchestrators: OrchestratorHost[];
  readonly workers: ProcessHost[];
  readonly gateways: ReadonlyMap<ProcessHost, ReturnType<typeof gatewayHost>['serve']>;
  readonly clients: Clients;
  /** Warnings and errors that processes logged, newest last; part of a failure's report. */
  readonly logged: string[] = [];

  constructor(sim: Simulator, config: WorldConfig, codec: Codec, mutation: Mutation | null) {
    this.sim = sim;
    this.config = config;
    this.codec = codec;
    this.mutation = mutation;
    this.faults = new Faults(sim.random, config.rates);
    this.network = new Network(sim, this.faults);
    this.broker = new Broker({ eager: config.eagerRebalance });
    this.broker.ensureTopics(topicSpecs());
    const registry = simulatedRegistry(config.executionTimeoutMs);
    this.registry = mutation?.registry?.(registry) ?? registry;
    this.checks = new Checks({
      sim,
      database: this.database,
      objects: this.objects,
      registry,
      slots: new Map([...this.#workerSlots()].map(({ name, slots }) => [name, slots])),
      atLeastOnce: config.profile === 'kafka',
    });
    this.#connectChecks();
    for (const { id, cap } of config.projects)
      this.database.budget.projects.set(id, {
        id,
        maxRunningWorkflows: cap,
        gpuSecondsBudget: BUDGET_GPU_SECONDS,
        gpuSecondsReserved: 0,
        gpuSecondsUsed: 0,
      });
    mutation?.servers?.({
      database: this.database,
      broker: this.broker,
      registry: this.models,
      objects: this.objects,
    });
    this.orchestrators = Array.from({ length: config.orchestrators + 1 }, (_, i) => orchestratorHost(this, `o${i}`));
    this.workers = [...this.#workerSlots()].map((options) => workerHost(this, options));
    const gateways = Array.from({ length: config.gateways }, (_, i) => gatewayHost(this, `g${i}`));
    this.gateways = new Map(gateways.map(({ host, serve }) => [host, serve]));
    this.clients = new Clients(sim, this.faults, this.gateways);
  }

  get hosts(): ProcessHost[] {
    return [...this.orchestrators.map(({ host }) => host), ...this.workers, ...this.gateways.keys()];
  }

  get busWorld(): BusWorld {
    return {
      sim: this.sim,
      network: this.network,
      faults: this.faults,
      broker: this.broker,
      server: this.config.profile === 'embedded' ? this.servers.database : this.servers.bus,
    };
  }

  get storeWorld(): StoreWorld {
    return {
      sim: this.sim,
      network: this.network,
      database: this.database,
      databaseServer: this.servers.database,
      bus: this.busWorld,
      faults: this.faults,
      notifyPeers: (sender) => this.#notifyPeers(sender),
      crash: (life) => this.crash(life),
    };
  }

  /** All processes but the spare orchestrator, which joins when chance says so. */
  start(): void {
    for (const host of this.hosts) if (host !== this.orchestrators.at(-1)?.host) host.start();
    const expire = (): void => {
      if (this.busWorld.server.downUntilMs <= this.sim.nowMs) this.broker.expireSessions(this.sim.nowMs);
      this.sim.schedule(EXPIRE_EVERY_MS, 'broker looks for silent members', expire);
    };
    expire();
  }

  crash(life: Life): void {
    this.hosts.find((host) => host.life === life)?.crash();
  }

  log(life: Life) {
    const write =
      (level: string) =>
      (fields: object, message: string): void => {
        this.logged.push(`${this.sim.elapsedMs} ${life.name} ${level} ${message} ${describe(fields)}`);
        if (this.logged.length > 2_000) this.logged.splice(0, 1_000);
      };
    return { info: write('info'), warn: write('warn'), error: write('error') };
  }

  #notifyPeers(sender: string): void {
    for (const { host, peersChanged } of this.orchestrators) {
      const { life } = host;
      if (life !== null && life.name !== sender)
        this.network.notify(life, 'peers', 'peer notification lost', () => peersChanged(life));
    }
  }

  *#workerSlots(): Iterable<{ name: string; lane: 'cpu' | 'gpu'; slots: number }> {
    for (const [i, slots] of this.config.cpuWorkers.entries()) yield { name: `cpu${i}`, lane: 'cpu', slots };
    for (const [i, slots] of this.config.gpuWorkers.entries()) yield { name: `gpu${i}`, lane: 'gpu', slots };
  }

  #connectChecks(): void {
    const { checks } = this;
    this.database.onCommit = (commit) => checks.committed(commit);
    this.broker.onAppend = (message) => checks.published(message);
    this.broker.onCommit = (groupId, positions) => checks.positionsCommitted(groupId, positions);
    this.models.onVersion = (version: ModelVersion) => checks.versionCreated(version);
  }
}

function describe(fields: object): string {
  return JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value));
}
