import type { FaultKind } from './faults.ts';
import type { Life } from './life.ts';
import type { ProcessHost } from './process-host.ts';
import type { Server } from './sim-network.ts';
import type { World } from './world.ts';

/** Longer than the sessions of workers and orchestrators, and than every lease of the simulation. */
const LONGEST_FREEZE_MS = 14_000;
const SHORT_FREEZE_MS = 2_500;
const SESSION_MS = 6_000;

const LONGEST_OUTAGE_MS = 4_000;
const LONGEST_CUT_OFF_MS = 9_000;
const LONGEST_JUMP_MS = 20_000;

/** Breaks processes, clocks, connections and servers at drawn times, until it is told to stop. */
export class Chaos {
  readonly #world: World;
  #stopped = false;

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    const { sim, faults } = this.#world;
    const next = (): void => {
      if (this.#stopped) return;
      const afterMs = sim.random.interval(faults.rates.chaosEveryMs);
      sim.schedule(afterMs, 'chaos', () => {
        if (this.#stopped) return;
        this.#strike();
        next();
      });
    };
    next();
  }

  /** Everything that is still broken is mended: processes run, connections and servers work, clocks are right, nothing new goes wrong. */
  stop(): void {
    this.#stopped = true;
    const world = this.#world;
    world.faults.stop();
    for (const server of Object.values(world.servers)) server.downUntilMs = 0;
    world.broker.renewSessions(world.sim.nowMs);
    for (const host of world.hosts) {
      host.computer.offsetMs = 0;
      if (host.life !== null) {
        host.life.cutOffUntilMs = 0;
        if (host.life.frozen) host.life.thaw();
      }
    }
    if (!world.orchestrators.some(({ host }) => host.wanted)) world.orchestrators[0]?.host.start();
  }

  #strike(): void {
    const { random } = this.#world.sim;
    const host = random.pick(this.#world.hosts);
    const strikes: readonly (() => void)[] = [
      () => this.#crash(host),
      () => this.#crash(host),
      () => this.#freeze(host),
      () => this.#freeze(host),
      () => this.#cutOff(host),
      () => this.#jump(host),
      () => this.#stopInOrder(host),
      () => this.#outage(),
      () => this.#joinOrLeave(),
      () => this.#cancelSomething(),
      () => this.#world.people.meddle(),
      () => this.#world.people.meddle(),
    ];
    random.pick(strikes)();
  }

  #crash(host: ProcessHost): void {
    if (host.life === null) return;
    this.#world.faults.count('crash');
    host.crash();
  }

  /** A zombie in the making when it lasts longer than its session and its leases. */
  #freeze(host: ProcessHost): void {
    const { sim, faults } = this.#world;
    const { life } = host;
    if (life === null || life.frozen) return;
    const forMs = sim.random.int(50, sim.random.chance(0.5) ? LONGEST_FREEZE_MS : SHORT_FREEZE_MS);
    faults.count(forMs > SESSION_MS ? 'freeze beyond session' : 'freeze');
    sim.note(`freeze ${life.name} for ${forMs}`);
    life.freeze();
    sim.schedule(forMs, `thaw ${life.name}`, () => this.#thaw(life));
  }

  #thaw(life: Life): void {
    if (life.frozen) life.thaw();
  }

  #cutOff(host: ProcessHost): void {
    const { sim, faults } = this.#world;
    if (host.life === null) return;
    faults.count('cut off');
    host.life.cutOffUntilMs = sim.nowMs + sim.random.int(100, LONGEST_CUT_OFF_MS);
  }

  /** Somebody sets the computer's time; mostly by little. */
  #jump({ computer, name }: ProcessHost): void {
    const { sim, faults } = this.#world;
    const byMs = sim.random.int(1, sim.random.chance(0.3) ? LONGEST_JUMP_MS : 300) * (sim.random.chance(0.5) ? 1 : -1);
    faults.count(byMs > 0 ? 'clock jump forward' : 'clock jump back');
    sim.note(`clock of ${name} jumps by ${byMs}`);
    computer.offsetMs += byMs;
  }

  #stopInOrder(host: ProcessHost): void {
    if (host.life === null || host.life.frozen) return;
    this.#world.faults.count('orderly stop');
    host.stop();
  }

  #outage(): void {
    const { sim, faults, servers } = this.#world;
    const [kind, server] = sim.random.pick<readonly [FaultKind, Server]>([
      ['outage of the database', servers.database],
      ['outage of the bus', servers.bus],
      ['outage of the object store', servers.objects],
      ['outage of the model registry', servers.models],
    ]);
    const forMs = sim.random.int(50, LONGEST_OUTAGE_MS);
    faults.count(kind);
    sim.note(`${kind} for ${forMs}`);
    server.downUntilMs = sim.nowMs + forMs;
    // Everybody was late through no fault of their own.
    sim.schedule(forMs, `${kind} is over`, () => this.#world.broker.renewSessions(sim.nowMs));
  }

  #joinOrLeave(): void {
    const { sim, faults, orchestrators } = this.#world;
    const { host } = sim.random.pick(orchestrators);
    const running = orchestrators.filter((each) => each.host.wanted).length;
    if (!host.wanted) {
      faults.count('orchestrator joins');
      host.start();
    } else if (running > 1) {
      faults.count('orchestrator leaves');
      host.stop(true);
    }
  }

  #cancelSomething(): void {
    const { sim, clients } = this.#world;
    const open = clients.accepted.filter((job) => job.cancelledAtMs === null);
    if (open.length > 0 && sim.random.chance(0.2)) clients.cancel(sim.random.pick(open));
  }
}
