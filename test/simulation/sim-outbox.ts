import type { Position } from '#lib/bus/port.ts';
import { PartitionLostError } from '#lib/bus/port.ts';
import type { Life } from './life.ts';
import type { SimBus } from './sim-bus.ts';
import type { OutboxRow, SimDatabase } from './sim-database.ts';
import type { Network, Server } from './sim-network.ts';
import type { Simulator } from './simulator.ts';

/** As in `lib/bus/outbox/outbox.ts` and `kafka/position-committer.ts`. */
const GRACE_MS = 2_000;
const SWEEP_EVERY_MS = 1_000;
const RETRY_MS = 250;
const COMMIT_EVERY_MS = 50;
const COMMIT_RETRY_MS = 500;

/** A transaction that does nothing is ended by the database; its rows are free for others then. */
const TRANSACTION_ENDS_MS = 10_000;

export interface OutboxWorld {
  readonly sim: Simulator;
  readonly network: Network;
  readonly database: SimDatabase;
  readonly databaseServer: Server;
}

/**
 * The outbox of one process on the Kafka profile: what its transactions left is published from memory, in order, and deleted; rows that nobody
 * published for a while are published by whoever looks. At least once.
 */
export class SimOutbox {
  readonly #world: OutboxWorld;
  readonly #life: Life;
  readonly #bus: SimBus;
  #waiting: OutboxRow[] = [];
  #running = false;

  constructor(world: OutboxWorld, life: Life, bus: SimBus) {
    this.#world = world;
    this.#life = life;
    this.#bus = bus;
    life.clock.every(SWEEP_EVERY_MS, () => void this.#sweep().catch(() => undefined));
  }

  /** These rows are in the database now. */
  committed(row: OutboxRow | null): void {
    if (row === null) return;
    this.#waiting.push(row);
    if (!this.#running) void this.#publishAll();
  }

  async #publishAll(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const rows = [...this.#waiting];
      try {
        await this.#bus.publish(rows.flatMap((row) => row.messages));
        this.#waiting = this.#waiting.slice(rows.length);
        void this.#delete(rows).catch(() => undefined);
      } catch {
        await this.#life.clock.sleep(RETRY_MS);
      }
    }
    this.#running = false;
  }

  /** Published rows whose deletion fails are swept later: published twice. */
  #delete(rows: readonly OutboxRow[]): Promise<void> {
    const { database } = this.#world;
    return this.#call('outbox done', () => database.deleteOutbox(rows));
  }

  /** Takes rows that are overdue, publishes and deletes them, in one transaction. */
  async #sweep(): Promise<void> {
    const { database, sim } = this.#world;
    const rows = await this.#call('outbox overdue', () => {
      const overdue = database.outbox.filter(
        (row) => row.atMs < sim.nowMs - GRACE_MS && !this.#waiting.includes(row) && !this.#isTaken(row),
      );
      for (const row of overdue) row.taken = { by: this.#life, atMs: sim.nowMs };
      return overdue;
    });
    if (rows.length === 0) return;
    try {
      await this.#bus.publish(rows.flatMap((row) => row.messages));
      await this.#delete(rows);
    } finally {
      for (const row of rows) row.taken = null;
    }
  }

  #isTaken({ taken }: OutboxRow): boolean {
    return taken !== null && taken.by.alive && this.#world.sim.nowMs - taken.atMs < TRANSACTION_ENDS_MS;
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#world.network.call(this.#life, this.#world.databaseServer, what, effect);
  }
}

/** Commits the newest positions in the background, after the transactions they belong to. */
export class SimPositionCommitter {
  readonly #life: Life;
  readonly #commit: (positions: readonly Position[]) => Promise<void>;
  #waiting = new Map<string, Position>();
  #running = false;

  constructor(life: Life, commit: (positions: readonly Position[]) => Promise<void>) {
    this.#life = life;
    this.#commit = commit;
  }

  add(positions: readonly Position[]): void {
    for (const position of positions) this.#waiting.set(`${position.topic}/${position.partition}`, position);
    if (!this.#running && positions.length > 0) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.size > 0) {
      const positions = this.#waiting;
      this.#waiting = new Map();
      try {
        await this.#commit([...positions.values()]);
        await this.#life.clock.sleep(COMMIT_EVERY_MS);
      } catch (error) {
        const lost = error instanceof PartitionLostError ? error.partitions : [];
        for (const [key, position] of positions)
          if (!this.#waiting.has(key) && !lost.some((p) => `${p.topic}/${p.partition}` === key))
            this.#waiting.set(key, position);
        await this.#life.clock.sleep(COMMIT_RETRY_MS);
      }
    }
    this.#running = false;
  }
}
