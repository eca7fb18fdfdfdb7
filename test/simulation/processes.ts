import type { Codec } from '#lib/contracts/codec.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { Worker } from '#lib/worker/worker.ts';
import type { Gateway } from '../../services/gateway/app/ports.ts';
import { Engine } from '../../services/orchestrator/app/engine.ts';
import type { Log } from '../../services/orchestrator/app/ports.ts';
import type { OrchestratorStore } from '../../services/orchestrator/app/store.ts';
import type { WorkflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import type { Broker } from './broker.ts';
import { DATASETS } from './dataset.ts';
import type { Faults } from './faults.ts';
import type { Life } from './life.ts';
import type { Mutation } from './mutation.ts';
import { ProcessHost, type Program } from './process-host.ts';
import { simActivities } from './sim-activities.ts';
import { type BusWorld, SimBus } from './sim-bus.ts';
import { SimAttemptClaims } from './sim-claims.ts';
import { SimJobStore } from './sim-job-store.ts';
import type { SimDatabase } from './sim-database.ts';
import { type RegistryTable, SimModelRegistry } from './sim-model-registry.ts';
import type { Network, Server } from './sim-network.ts';
import { type ObjectTable, SimObjectStore } from './sim-object-store.ts';
import { SimOutbox } from './sim-outbox.ts';
import { SimPromotions } from './sim-releases.ts';
import { SimOrchestratorStore, type StoreWorld } from './sim-orchestrator-store.ts';
import type { SimSubscription } from './sim-subscription.ts';
import type { Workspace } from './activity-tools.ts';
import type { Simulator } from './simulator.ts';
import type { WorldConfig } from './world-config.ts';

/** What processes have around them. */
export interface ProcessWorld {
  readonly sim: Simulator;
  readonly config: WorldConfig;
  readonly mutation: Mutation | null;
  readonly codec: Codec;
  readonly registry: WorkflowRegistry;
  readonly faults: Faults;
  readonly network: Network;
  readonly database: SimDatabase;
  readonly broker: Broker;
  readonly objects: ObjectTable;
  readonly models: RegistryTable;
  readonly workspace: Workspace;
  readonly servers: { readonly objects: Server; readonly models: Server };
  readonly busWorld: BusWorld;
  readonly storeWorld: StoreWorld;
  readonly checks: {
    attemptStarted(context: ActivityContext, life: Life): void;
    attemptEnded(context: ActivityContext, life: Life): void;
  };
  log(life: Life): Log;
}

/** What `main.ts` of each service builds, with simulated ports. */

export interface OrchestratorHost {
  readonly host: ProcessHost;
  /** The database told this life that another orchestrator committed. */
  readonly peersChanged: (life: Life) => void;
}

/** A worker's orderly stop gives attempts this long. */
const WORKER_STOP_MS = 2_000;

const NO_FENCE = { groupId: '', memberId: '', generation: 0 };

export function orchestratorHost(world: ProcessWorld, name: string): OrchestratorHost {
  const engines = new Map<Life, Engine>();
  const boot = async (life: Life): Promise<Program> => {
    const bus = new SimBus(world.busWorld, life);
    let subscription: SimSubscription | null = null;
    const engineBus = {
      bus,
      fence: () => subscription?.fence() ?? NO_FENCE,
      commitPositions: async (positions: Parameters<SimSubscription['commit']>[0]) => subscription?.commit(positions),
    };
    const store: OrchestratorStore = new SimOrchestratorStore(world.storeWorld, life, engineBus, {
      profile: world.config.profile,
      positionsFirst: world.mutation?.commitsPositionsFirst === true,
      losesOutbox: world.mutation?.losesOutbox === true,
    });
    const scene = { database: world.database, broker: world.broker };
    const { settings } = world.config;
    const engine = new Engine(
      {
        bus: { subscribe: async (options) => (subscription = await bus.subscribe(options)) },
        store: world.mutation?.store?.(store, scene) ?? store,
        codec: world.mutation?.engineCodec?.(world.codec, scene) ?? world.codec,
        registry: world.registry,
        clock: life.clock,
        log: world.log(life),
        owner: life.name,
      },
      {
        ...(world.mutation?.settings?.(settings) ?? settings),
        ...(world.config.namedOrchestrators ? { instanceId: name } : {}),
      },
    );
    engines.set(life, engine);
    await engine.start();
    return { stop: () => engine.stop() };
  };
  return {
    host: new ProcessHost(world.sim, { kind: 'orchestrator', name, boot }),
    peersChanged: (life) => engines.get(life)?.peersChanged(),
  };
}

export function workerHost(
  world: ProcessWorld,
  { name, lane, slots }: { name: string; lane: 'cpu' | 'gpu'; slots: number },
): ProcessHost {
  const boot = async (life: Life, exit: (error: unknown) => void): Promise<Program> => {
    const bus = new SimBus(world.busWorld, life);
    const worker = new Worker({
      workerId: name,
      incarnation: life.name,
      lane,
      slots,
      announceEveryMs: world.config.announceEveryMs,
      bus: world.mutation?.workerBus?.(bus) ?? bus,
      codec: world.codec,
      claims: world.config.profile === 'kafka' ? new SimAttemptClaims(world.storeWorld, life) : null,
      activities: activitiesOf(world, life),
      log: world.log(life),
      onBroken: exit,
      clock: life.clock,
    });
    await worker.start();
    return { stop: () => worker.stop(WORKER_STOP_MS) };
  };
  return new ProcessHost(world.sim, { kind: `${lane}-worker`, name, boot });
}

const activitiesOf = (world: ProcessWorld, life: Life) =>
  simActivities({
    life,
    store: new SimObjectStore({ network: world.network, server: world.servers.objects, table: world.objects }, life),
    registry: new SimModelRegistry({ network: world.network, server: world.servers.models, table: world.models }, life),
    promotions: new SimPromotions(world.storeWorld, life),
    world: {
      sim: world.sim,
      faults: world.faults,
      workspace: world.workspace,
      damage: (key) => {
        const object = world.objects.objects.get(key);
        if (object !== undefined) object.body = Buffer.from('damaged');
      },
      onStart: (context, by) => world.checks.attemptStarted(context, by),
      onEnd: (context, by) => world.checks.attemptEnded(context, by),
      outputFolder: world.mutation?.outputFolder ?? ((workspace, epoch) => `${workspace}/output-e${epoch}`),
    },
  });

export function gatewayHost(world: ProcessWorld, name: string): { host: ProcessHost; serve: (life: Life) => Gateway } {
  const gateways = new WeakMap<Life, Gateway>();
  const boot = async (life: Life): Promise<Program> => {
    gateways.set(life, gatewayOf(world, life));
    return { stop: () => Promise.resolve() };
  };
  const serve = (life: Life): Gateway => {
    const gateway = gateways.get(life);
    if (gateway === undefined) throw new Error(`${life.name} is no gateway`);
    return gateway;
  };
  return { host: new ProcessHost(world.sim, { kind: 'gateway', name, boot }), serve };
}

function gatewayOf(world: ProcessWorld, life: Life): Gateway {
  const outbox =
    world.config.profile === 'kafka' ? new SimOutbox(world.storeWorld, life, new SimBus(world.busWorld, life)) : null;
  return {
    jobs: new SimJobStore(world.storeWorld, life, DATASETS, outbox),
    datasets: {
      projectExists: () => Promise.reject(new Error('uploads are not simulated')),
      addVersion: () => Promise.reject(new Error('uploads are not simulated')),
    },
    registry: new SimModelRegistry({ network: world.network, server: world.servers.models, table: world.models }, life),
    promotions: new SimPromotions(world.storeWorld, life),
    objects: new SimObjectStore({ network: world.network, server: world.servers.objects, table: world.objects }, life),
    codec: world.codec,
    codeCommit: 'simulated',
    keys: { known: async (_project, ids) => ids.map((id) => ({ id, role: 'approver', revoked: false })) },
    slotSpeed: { gflops: 1 },
    now: () => life.clock.now(),
  };
}
