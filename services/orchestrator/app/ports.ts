import type { Bus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { Clock } from '#lib/kernel/clock.ts';
import type { LeasePolicy } from '../domain/lease-keeper.ts';
import type { WorkflowRegistry } from '../domain/workflows/registry.ts';
import type { OrchestratorStore } from './store.ts';

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface EngineSettings {
  readonly leases: LeasePolicy;
  /** Workers report progress this often. The seed: 60 s for GPU work. */
  readonly heartbeatEveryMs: number;
  /** A worker that announced nothing for this long gets no more work. */
  readonly workerTimeoutMs: number;
  /** Messages of one batch at most: bounds memory and the length of a transaction. */
  readonly maxBatch: number;
  /** Stable name of this orchestrator: started anew, it takes its partitions back at once. */
  readonly instanceId?: string;
}

export interface EnginePorts {
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly store: OrchestratorStore;
  readonly codec: Codec;
  readonly registry: WorkflowRegistry;
  /** Time as a value, so that the engine can be driven by a simulation. */
  readonly clock: Pick<Clock, 'now' | 'sleep'>;
  readonly log: Log;
  /** Name of this process, unique among orchestrators. */
  readonly owner: string;
}
