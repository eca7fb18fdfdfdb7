import type { ActivityInput, ActivityName, ActivityOutput } from '#lib/contracts/activities.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { ObjectStore } from '#lib/object-store/port.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import type { Life } from './life.ts';
import { pause, type ProgramWorld } from './sim-program.ts';

/** The disk that all workers share: what `run_training` leaves for `upload_artifacts`, by folder. */
export type Workspace = Map<string, string>;

export interface ActivityWorld extends ProgramWorld {
  readonly workspace: Workspace;
  /** Objects by key, to damage some. */
  readonly damage: (key: string) => void;
  readonly onStart: (context: ActivityContext, life: Life) => void;
  readonly onEnd: (context: ActivityContext, life: Life) => void;
  /** Folder of a training attempt; it carries the epoch. */
  readonly outputFolder: (workspace: string, epoch: number) => string;
}

/** What an activity has at hand. */
export interface Tools {
  readonly world: ActivityWorld;
  readonly life: Life;
  readonly store: ObjectStore;
  readonly registry: ModelRegistry;
  readonly promotions: Pick<PromotionLedger, 'stages'>;
}

export type Run<A extends ActivityName> = (
  tools: Tools,
  context: ActivityContext<ActivityInput<A>>,
) => Promise<ActivityOutput<A>>;

/** For activities that run as they are: the same ports, and waiting for the registry takes simulated time, too. */
export function platformOf({ world, life, store, registry }: Tools): WorkerPlatform {
  const log = { info: () => undefined, warn: () => undefined };
  const clock = {
    now: () => world.sim.nowMs,
    wait: async (ms: number, signal: AbortSignal) => {
      await pause(life, signal, ms);
      signal.throwIfAborted();
    },
  };
  return { store, registry, workspaceDir: '', workspaceMarginBytes: 0, log, clock } as never;
}
