import { busContract } from '#lib/bus/bus.contract.ts';
import type { MemberProcess } from '#lib/bus/contract/member-process.ts';
import { Broker } from './broker.ts';
import { Faults, NO_FAULTS } from './faults.ts';
import { Life } from './life.ts';
import { type BusWorld, busUnavailable, SimBus } from './sim-bus.ts';
import { SimMember } from './sim-member.ts';
import { Network } from './sim-network.ts';
import { SimRandom } from './sim-random.ts';
import { Simulator, SIMULATION_STARTS_MS } from './simulator.ts';

/** How often the broker looks for members whose session ran out; shorter than the contract's shortest session. */
const EXPIRE_EVERY_MS = 100;

/** A simulation that was held up goes on where it was: catching up, it would end waits of the contract early. */
const LONGEST_PUMP_MS = 5;

/** The simulated bus, its time tied to real time: the contract waits in real time. */
async function start(eager: boolean) {
  const sim = new Simulator(new SimRandom(1));
  const faults = new Faults(sim.random, NO_FAULTS);
  const broker = new Broker({ eager });
  const server = { name: 'bus', downUntilMs: 0, unreachable: busUnavailable, refusal: busUnavailable };
  const world: BusWorld = { sim, faults, broker, server, network: new Network(sim, faults) };
  const expire = (): void => {
    broker.expireSessions(sim.nowMs);
    sim.schedule(EXPIRE_EVERY_MS, 'expire', expire);
  };
  expire();
  const stop = new AbortController();
  const pump = async (): Promise<void> => {
    let elapsedMs = 0;
    for (let lastMs = performance.now(); !stop.signal.aborted; ) {
      const nowMs = performance.now();
      elapsedMs += Math.min(nowMs - lastMs, LONGEST_PUMP_MS);
      lastMs = nowMs;
      const untilMs = SIMULATION_STARTS_MS + Math.floor(elapsedMs);
      while ((sim.nextAtMs ?? Infinity) <= untilMs) await sim.step();
      sim.passTime(untilMs);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const pumping = pump();
  let lives = 0;
  return {
    connect: async () => new SimBus(world, new Life(sim, `client-${lives++}`, { offsetMs: 0 })),
    spawnMember: (options: { groupId: string; topics: readonly string[]; sessionTimeoutMs: number }) =>
      // The same methods; a class of its own, since there is no process behind it.
      new SimMember(world, { ...options, name: `member-${lives++}` }) as unknown as MemberProcess,
    shortSessionMs: 700,
    close: async () => {
      stop.abort();
      await pumping;
    },
  };
}

busContract('the simulated bus, sticky', () => start(false));
busContract('the simulated bus, eager', () => start(true));
