import type { LagRow } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { topicSpecs } from '#lib/contracts/topics.ts';
import type { ModelVersion } from '#lib/model-registry/port.ts';
import { Broker } from './broker.ts';
import { Clients } from './client.ts';
import { connectionLost, deadlock } from './database-error.ts';
import { Faults } from './faults.ts';
import { addFirstModels } from './first-models.ts';
import { Checks } from './invariants/checks.ts';
import { simulatedRegistry } from './job-kinds.ts';
import type { Life } from './life.ts';
import type { Mutation } from './mutation.ts';
import { People } from './people.ts';
import type { ProcessHost } from './process-host.ts';
import { gatewayHost, orchestratorHost, type OrchestratorHost, type ProcessWorld, workerHost } from './processes.ts';
import type { Workspace } from './activity-tools.ts';
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

/** Longer than a message is under way without faults. */
const QUIET_AFTER_MS = 3_000;

const isBehind = ({ topic, nextOffset, endOffset }: LagRow): boolean =>
  topic !== 'workers.events' && nextOffset < endOffset;

const isWaiting = (state: string): boolean => state === 'queued' || state === 'placed' || state === 'running';

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
  readonly people: People;
  /** Warnings and errors that processes logged, newest last; part of a failure's report. */
  readonly logged: string[] = [];

  #lastFactAtMs = 0;
  /** By which the clocks are ahead of the world's since the faults stopped. */
  #passedMs = 0;

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
    for (const { id, cap } of config.projects)
      this.database.budget.projects.set(id, {
        id,
        maxRunningWorkflows: cap,
        gpuSecondsBudget: BUDGET_GPU_SECONDS,
        gpuSecondsReserved: 0,
        gpuSecondsUsed: 0,
      });
    for (const { id } of config.projects) addFirstModels(id, this.models, this.database);
    this.#connectChecks();
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
    this.people = new People(this);
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

  /** Nothing is logged, nothing can run, and nobody is about to do anything: what is left waits for its time. */
  get isQuiet(): boolean {
    if (this.sim.nowMs - this.#lastFactAtMs < QUIET_AFTER_MS) return false;
    if (this.clients.waiting > 0 || this.people.busy || this.database.outbox.length > 0) return false;
    if (this.broker.lag('orchestrator').some(isBehind)) return false;
    return [...this.database.activities.values()].every(({ state, workflowId }) => {
      const row = this.database.workflows.get(workflowId);
      if (!isWaiting(state) || row?.status !== 'open' || row.paused) return true;
      return state === 'queued' && !row.running && row.parent === null && this.#isFull(row.project);
    });
  }

  /** As many workflows of the project run, or wait for children that rest, as may. */
  #isFull(project: string): boolean {
    const rows = [...this.database.workflows.values()];
    const running = rows.filter((row) => row.project === project && row.status === 'open' && row.running);
    const cap = this.database.budget.projects.get(project)?.maxRunningWorkflows ?? 0;
    return running.filter(({ parent }) => parent === null).length >= cap;
  }

  /**
   * Passes the time until the next timer or deadline at once: every clock is set forward by it. Hours of an approval, a canary or an execution timeout, in
   * which nothing happens. False when nothing will ever come due.
   */
  passQuietTime(): boolean {
    const open = [...this.database.workflows.values()].filter(({ status }) => status === 'open');
    const due = Math.min(
      ...open.map(({ deadlineAtMs }) => deadlineAtMs),
      ...[...this.database.timers.values()].map(({ fireAtMs }) => fireAtMs),
    );
    if (!Number.isFinite(due)) return false;
    const forwardMs = Math.max(0, due - this.sim.nowMs - this.#passedMs);
    this.#passedMs += forwardMs;
    this.sim.note(`quiet: ${forwardMs} ms pass`);
    for (const { computer } of this.hosts) computer.offsetMs += forwardMs;
    this.#lastFactAtMs = this.sim.nowMs;
    return true;
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
    this.database.onCommit = (commit) => {
      if (commit.events.length > 0) this.#lastFactAtMs = this.sim.nowMs;
      checks.committed(commit);
      this.people.saw(commit);
    };
    this.database.releases.onPromotion = (entry) => checks.promoted(entry);
    this.broker.onAppend = (message) => checks.published(message);
    this.broker.onCommit = (groupId, positions) => checks.positionsCommitted(groupId, positions);
    this.models.onVersion = (version: ModelVersion) => checks.versionCreated(version);
  }
}

function describe(fields: object): string {
  return JSON.stringify(fields, (_, value: unknown) => (value instanceof Error ? value.message : value));
}
