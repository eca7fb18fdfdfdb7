import type { Bus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { EngineSettings } from '../../services/orchestrator/app/ports.ts';
import type { OrchestratorStore } from '../../services/orchestrator/app/store.ts';
import type { WorkflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import type { Broker } from './broker.ts';
import type { SimDatabase } from './sim-database.ts';
import type { RegistryTable } from './sim-model-registry.ts';
import type { ObjectTable } from './sim-object-store.ts';

/** What a mutation may look at. */
export interface MutationScene {
  readonly database: SimDatabase;
  readonly broker: Broker;
}

/**
 * A bug made by hand, in the simulation only: it changes what the code under test gets from its ports, or what a server does. The invariants must
 * find it, else they are worth nothing.
 */
export interface Mutation {
  readonly name: string;
  readonly bug: string;
  /** The profile on which the bug makes a difference; absent = both. */
  readonly profile?: 'embedded' | 'kafka';
  readonly servers?: (servers: {
    database: SimDatabase;
    broker: Broker;
    registry: RegistryTable;
    objects: ObjectTable;
  }) => void;
  readonly store?: (store: OrchestratorStore, scene: MutationScene) => OrchestratorStore;
  readonly engineCodec?: (codec: Codec, scene: MutationScene) => Codec;
  readonly workerBus?: (bus: Bus) => Bus;
  readonly registry?: (registry: WorkflowRegistry) => WorkflowRegistry;
  readonly settings?: (settings: EngineSettings) => EngineSettings;
  readonly outputFolder?: (workspace: string, epoch: number) => string;
  readonly commitsPositionsFirst?: boolean;
  readonly losesOutbox?: boolean;
}
