import type { Codec } from '#lib/contracts/codec.ts';
import { Chaos } from './chaos.ts';
import type { FaultKind } from './faults.ts';
import { ANSWERS_WITHIN_MS } from './invariants/answer-invariant.ts';
import type { Violation } from './invariants/violations.ts';
import { JOB_KINDS, type JobKind } from './job-kinds.ts';
import type { Mutation } from './mutation.ts';
import { isFinalJob } from './sim-database.ts';
import { SimRandom } from './sim-random.ts';
import { Simulator, SIMULATION_STARTS_MS } from './simulator.ts';
import { World } from './world.ts';
import { configFrom, type WorldConfig } from './world-config.ts';

/** Simulated time within which everything must have ended after the last fault. */
const ENDS_WITHIN_MS = 300_000;

/** A process that died with the last fault has been started again by then, and the session of its former life is over. */
const RECOVERED_AFTER_MS = 12_000;

export interface RunResult {
  readonly seed: number;
  readonly config: WorldConfig;
  readonly traceHash: string;
  readonly steps: number;
  readonly simulatedMs: number;
  readonly jobs: number;
  /** How the jobs ended, by status. */
  readonly ends: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** Looks at each rule. */
  readonly checked: ReadonlyMap<string, number>;
  /** The first violation ends a run. */
  readonly violation: Violation | null;
  /** The last events before the end, for a violation's report. */
  readonly trace: readonly string[];
  readonly logged: readonly string[];
}

/** One world from one seed, until everything has ended or a rule is broken. The same seed gives the same run, event for event. */
export async function runSimulation(
  seed: number,
  options: { readonly codec: Codec; readonly mutation?: Mutation; readonly onTrace?: (line: string) => void },
): Promise<RunResult> {
  const random = new SimRandom(seed);
  const mutation = options.mutation ?? null;
  const config = configFrom(random, mutation?.profile === undefined ? {} : { profile: mutation.profile });
  const sim = new Simulator(random, options.onTrace ?? null);
  const world = new World(sim, config, options.codec, mutation);
  const { violations } = world.checks;
  const broken = (): boolean => violations.found.length > 0;

  // 1. Jobs come in while faults strike.
  world.start();
  scheduleJobs(world);
  const chaos = new Chaos(world);
  chaos.start();
  const faultsEndAtMs = SIMULATION_STARTS_MS + config.faultyMs;
  sim.schedule(config.faultyMs, 'faults end', () => chaos.stop());
  await sim.runUntil(() => broken() || sim.nowMs >= faultsEndAtMs, faultsEndAtMs);

  // 2. No more faults: everything that was accepted comes to its end.
  const ended = (): boolean =>
    world.clients.waiting === 0 &&
    [...world.database.jobs.values()].every(isFinalJob) &&
    world.database.outbox.length === 0;
  for (;;) {
    const over = await sim.runUntil(
      () => broken() || (sim.nowMs > faultsEndAtMs && (ended() || world.isQuiet)),
      faultsEndAtMs + ENDS_WITHIN_MS,
    );
    if (!over || broken() || ended()) break;
    world.checks.quiet();
    if (broken() || !world.passQuietTime()) break;
  }
  // 3. What is still under way arrives.
  const settledAtMs = Math.max(sim.nowMs + 2 * ANSWERS_WITHIN_MS, faultsEndAtMs + RECOVERED_AFTER_MS);
  await sim.runUntil(() => broken() || sim.nowMs >= settledAtMs, settledAtMs);
  if (!broken()) world.checks.atEnd(world.clients.accepted);
  return resultOf(seed, world);
}

function scheduleJobs({ sim, config, clients }: World): void {
  for (let n = 0; n < config.jobs; n++) {
    const kind = pickKind(sim.random);
    const { id: project } = sim.random.pick(config.projects);
    const idempotencyKey = `key-${n}`;
    const body = kind.request(sim.random, project, idempotencyKey);
    sim.schedule(sim.random.int(0, Math.round(config.faultyMs * 0.7)), 'submit', () =>
      clients.submit(kind, { kind: kind.jobType, project, idempotencyKey, body }),
    );
  }
}

function pickKind(random: SimRandom): JobKind {
  return random.pick(JOB_KINDS.flatMap((kind) => Array.from({ length: kind.weight }, () => kind)));
}

function resultOf(seed: number, world: World): RunResult {
  const { sim, checks, faults, config, database } = world;
  const ends = new Map<string, number>();
  for (const { status } of database.jobs.values()) ends.set(status, (ends.get(status) ?? 0) + 1);
  return {
    seed,
    config,
    traceHash: sim.traceHash(),
    steps: sim.steps,
    simulatedMs: sim.elapsedMs,
    jobs: database.jobs.size,
    ends,
    faults: faults.counts,
    checked: checks.violations.checked,
    violation: checks.violations.found[0] ?? null,
    trace: sim.recentTrace(),
    logged: world.logged.slice(-200),
  };
}
