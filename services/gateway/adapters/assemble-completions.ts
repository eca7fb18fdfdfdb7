import { Counter } from 'prom-client';
import type { Bus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { Database } from '#lib/postgres/database.ts';
import { ObservationBuffer } from '#lib/serving/observation-buffer.ts';
import type { TrafficStore } from '#lib/serving/port.ts';
import { TrafficView } from '#lib/serving/traffic-view.ts';
import type { Registry } from '#lib/service/metrics.ts';
import type { CompletionPorts } from '../app/complete.ts';
import { ServedVersions } from '../app/served-versions.ts';
import { InferenceClient } from './inference-client.ts';

/** Where completions are answered; absent: nowhere. */
export interface InferenceAddress {
  readonly url?: string | undefined;
  readonly token?: string | undefined;
}

export interface Completions extends CompletionPorts {
  /** Publishes the observations that are still in memory. */
  close(): Promise<void>;
}

/** Puts the parts of completions together. Opens nothing before the first of them. */
export function assembleCompletions(parts: {
  readonly database: Database;
  readonly bus: Pick<Bus, 'publish'>;
  readonly codec: Codec;
  readonly registry: ModelRegistry;
  readonly traffic: TrafficStore;
  readonly inference: InferenceAddress;
  readonly metrics: Registry;
  readonly now: () => number;
}): Completions {
  const dropped = new Counter({
    name: 'trainyard_observations_dropped_total',
    help: 'Observations of completions that the bus did not take in time',
    registers: [parts.metrics],
  });
  const traffic = new TrafficView(parts.traffic, parts.database);
  const observations = new ObservationBuffer(parts.bus, { onDropped: (count) => dropped.inc(count) });
  return {
    versions: new ServedVersions(parts.registry),
    traffic,
    inference: new InferenceClient(parts.inference),
    observations,
    codec: parts.codec,
    now: parts.now,
    close: async () => {
      await observations.close();
      await traffic.close();
    },
  };
}
