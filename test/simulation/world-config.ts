import type { EngineSettings } from '../../services/orchestrator/app/ports.ts';
import { type FaultRates, ratesFrom } from './faults.ts';
import type { SimRandom } from './sim-random.ts';

export interface ProjectConfig {
  readonly id: string;
  readonly cap: number;
}

/** One world, drawn from a seed. */
export interface WorldConfig {
  /** How messages and positions are committed: with the database, or after it. */
  readonly profile: 'embedded' | 'kafka';
  /** At a rebalance everything is given anew (kafkajs), or members keep what they have (embedded bus). */
  readonly eagerRebalance: boolean;
  /** Orchestrators have names of their own and take their partitions back at once. */
  readonly namedOrchestrators: boolean;
  readonly orchestrators: number;
  readonly gateways: number;
  /** Slots of each worker. */
  readonly cpuWorkers: readonly number[];
  readonly gpuWorkers: readonly number[];
  readonly projects: readonly ProjectConfig[];
  readonly jobs: number;
  /** Jobs come in and faults strike for this long, ms. */
  readonly faultyMs: number;
  /** Null = the profiles' own, which no run reaches. */
  readonly executionTimeoutMs: number | null;
  readonly settings: EngineSettings;
  readonly announceEveryMs: number;
  readonly rates: FaultRates;
}

const SLOT_COUNTS = [1, 1, 2, 3];

export function configFrom(random: SimRandom, force: Partial<Pick<WorldConfig, 'profile'>> = {}): WorldConfig {
  const some = (counts: readonly number[]): number => random.pick(counts);
  const workers = (): number[] => Array.from({ length: some([1, 2, 2, 3]) }, () => some(SLOT_COUNTS));
  const profile = random.pick(['embedded', 'kafka'] as const);
  const heartbeatEveryMs = some([150, 300, 600]);
  return {
    profile: force.profile ?? profile,
    eagerRebalance: random.chance(0.5),
    namedOrchestrators: random.chance(0.5),
    orchestrators: some([1, 2, 2, 3]),
    gateways: some([1, 2]),
    cpuWorkers: workers(),
    gpuWorkers: workers(),
    projects: Array.from({ length: some([1, 2, 3]) }, (_, i) => ({ id: `project-${i}`, cap: some([1, 2, 2, 4]) })),
    jobs: random.int(3, 9),
    faultyMs: random.int(12_000, 30_000),
    executionTimeoutMs: random.chance(0.1) ? random.int(8_000, 40_000) : null,
    announceEveryMs: some([300, 700]),
    settings: {
      leases: {
        heartbeatTimeoutMs: 5 * heartbeatEveryMs + some([300, 1_500]),
        acceptTimeoutMs: some([1_500, 4_000]),
        stallFactor: 5,
        stallFloorMs: some([2_500, 5_000]),
      },
      heartbeatEveryMs,
      workerTimeoutMs: some([2_500, 5_000]),
      maxBatch: some([1, 3, 50, 1_000]),
    },
    rates: ratesFrom(random),
  };
}
