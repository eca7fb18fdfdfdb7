import type { Bus, LagRow, OutgoingMessage, SubscribeOptions, TopicSpec } from '#lib/bus/port.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Broker } from './broker.ts';
import type { Faults } from './faults.ts';
import type { Life } from './life.ts';
import type { Network, Server } from './sim-network.ts';
import { SimSubscription } from './sim-subscription.ts';
import type { Simulator } from './simulator.ts';

/** What clients of the broker need of the world. */
export interface BusWorld {
  readonly sim: Simulator;
  readonly network: Network;
  readonly faults: Faults;
  readonly broker: Broker;
  readonly server: Server;
}

/** The bus as one process has it. */
export class SimBus implements Bus {
  readonly #world: BusWorld;
  readonly #life: Life;
  readonly #open = new Set<SimSubscription>();

  constructor(world: BusWorld, life: Life) {
    this.#world = world;
    this.#life = life;
  }

  ensureTopics(topics: readonly TopicSpec[]): Promise<void> {
    return this.#call('ensure topics', () => this.#world.broker.ensureTopics(topics));
  }

  /**
   * Written when it resolves. When it does not, it may have been written or not. A producer's retry writes it twice; a batch over several
   * partitions is written partition by partition, with other producers' messages between.
   */
  async publish(messages: readonly OutgoingMessage[]): Promise<void> {
    if (messages.length === 0) return;
    const { broker, faults, sim } = this.#world;
    const routed = broker.route(messages);
    const twice = faults.strikes('duplicatePublish', 'duplicate publish');
    const partitions = [...new Set(routed.map((m) => `${m.topic}/${m.partition}`))];
    if (partitions.length === 1 || !faults.strikes('splitPublish', 'split publish')) {
      await this.#call(`publish ${messages.length}`, () => broker.append(twice ? [...routed, ...routed] : routed));
      return;
    }
    const order = partitions.map((name) => ({ name, tie: sim.random.next() })).sort((a, b) => a.tie - b.tie);
    const parts = order.map(({ name }) => routed.filter((m) => `${m.topic}/${m.partition}` === name));
    await Promise.all(
      parts.map((part) =>
        this.#call(`publish ${part.length} of ${messages.length}`, () =>
          broker.append(twice ? [...part, ...part] : part),
        ),
      ),
    );
  }

  async subscribe(options: SubscribeOptions): Promise<SimSubscription> {
    const subscription = new SimSubscription(this.#world, this.#life, options, (self) => this.#open.delete(self));
    this.#open.add(subscription);
    await subscription.join();
    return subscription;
  }

  lag(groupId: string): Promise<LagRow[]> {
    return this.#call('lag', () => this.#world.broker.lag(groupId));
  }

  check(): Promise<void> {
    return this.#call('check', () => undefined);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((subscription) => subscription.close()));
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#world.network.call(this.#life, this.#world.server, what, effect);
  }
}

export const busUnavailable = (): TrainyardError =>
  new TrainyardError('ServiceUnavailable', 'the bus cannot be reached');
