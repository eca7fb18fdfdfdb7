import { PartitionLostError, type Position, type TopicPartition } from '#lib/bus/port.ts';
import { eventually } from '../support/eventually.ts';
import { Life } from './life.ts';
import { type BusWorld, SimBus } from './sim-bus.ts';
import type { SimSubscription } from './sim-subscription.ts';

const WITHIN_MS = 20_000;

/** What `contract/member-process.ts` is for real processes: a member that polls without committing, and can be killed and frozen. */
export class SimMember {
  readonly #life: Life;
  readonly #positions: Position[] = [];
  readonly #assignments: (readonly TopicPartition[])[] = [];
  #subscription: SimSubscription | null = null;

  constructor(
    world: BusWorld,
    options: { name: string; groupId: string; topics: readonly string[]; sessionTimeoutMs: number },
  ) {
    this.#life = new Life(world.sim, options.name, { offsetMs: 0 });
    void this.#run(new SimBus(world, this.#life), options);
  }

  received(count: number): Promise<readonly Position[]> {
    return eventually(() => this.#positions.length >= count && this.#positions, { withinMs: WITHIN_MS });
  }

  assigned(nth: number): Promise<readonly TopicPartition[]> {
    return eventually(() => this.#assignments[nth - 1] ?? false, { withinMs: WITHIN_MS });
  }

  async commit(positions: readonly Position[]): Promise<'committed' | 'lost'> {
    try {
      await this.#subscription?.commit(positions);
      return 'committed';
    } catch (error) {
      if (!(error instanceof PartitionLostError)) throw error;
      return 'lost';
    }
  }

  freeze(): void {
    this.#life.freeze();
  }

  thaw(): void {
    this.#life.thaw();
  }

  kill(): void {
    this.#life.end();
  }

  async #run(
    bus: SimBus,
    { groupId, topics, sessionTimeoutMs }: { groupId: string; topics: readonly string[]; sessionTimeoutMs: number },
  ): Promise<void> {
    this.#subscription = await bus.subscribe({
      groupId,
      topics,
      from: 'beginning',
      sessionTimeoutMs,
      onRebalance: ({ assigned }) => {
        if (assigned.length > 0) this.#assignments.push(assigned);
      },
    });
    while (this.#life.alive)
      for (const { topic, partition, offset } of await this.#subscription.poll({
        maxMessages: 1_000,
        maxWaitMs: 1_000,
      }))
        this.#positions.push({ topic, partition, nextOffset: offset + 1 });
  }
}
