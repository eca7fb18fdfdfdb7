import {
  PartitionLostError,
  type Position,
  type ReceivedMessage,
  type SubscribeOptions,
  type Subscription,
  type TopicPartition,
} from '#lib/bus/port.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { isConnectionError, sqlState } from '#lib/postgres/database.ts';
import { type Fence, partitionKey } from './broker.ts';
import type { HeldPartition } from './broker-group.ts';
import type { Life } from './life.ts';
import { SimSignal } from './sim-signal.ts';
import type { BusWorld } from './sim-bus.ts';

const DEFAULT_SESSION_TIMEOUT_MS = 6_000;

/** A waiting poll looks by itself this often: bounds the wait when a notification is lost. */
const LOOK_EVERY_MS = 250;

interface ReadPosition extends Position {
  readonly since: number;
}

interface Holding {
  readonly generation: number;
  readonly partitions: ReadonlyMap<string, HeldPartition>;
}

/** A member of a consumer group, in one process: what the broker's client library does. */
export class SimSubscription implements Subscription {
  readonly #world: BusWorld;
  readonly #life: Life;
  readonly #options: SubscribeOptions;
  readonly #sessionTimeoutMs: number;
  readonly #signal: SimSignal;
  readonly #unlisten: () => void;
  readonly #heartbeat: { cancel(): void };
  readonly #paused = new Set<string>();
  readonly #underWay = new Set<string>();
  readonly #onClosed: (self: SimSubscription) => void;
  #memberId: string | null = null;
  #joined = false;
  #generation = 0;
  #reading = new Map<string, ReadPosition>();
  #readingAs = '';
  #stale = true;
  #rewind = false;
  #woken = false;
  #closed = false;
  #turn = 0;

  constructor(world: BusWorld, life: Life, options: SubscribeOptions, onClosed: (self: SimSubscription) => void) {
    this.#world = world;
    this.#life = life;
    this.#options = options;
    this.#onClosed = onClosed;
    this.#sessionTimeoutMs = options.sessionTimeoutMs ?? DEFAULT_SESSION_TIMEOUT_MS;
    this.#signal = new SimSignal(life.clock);
    this.#heartbeat = life.clock.every(this.#sessionTimeoutMs / 3, () => this.#beat());
    this.#unlisten = world.broker.listen({
      groupId: options.groupId,
      topics: options.topics,
      published: () => this.#hear('published', () => this.#signal.notify()),
      rebalanced: () => this.#hear('rebalanced', () => this.#refresh()),
    });
  }

  async join(): Promise<void> {
    await this.#holding();
  }

  async poll(options: { readonly maxMessages: number; readonly maxWaitMs: number }): Promise<ReceivedMessage[]> {
    let over = options.maxWaitMs <= 0;
    const timer = this.#life.clock.after(options.maxWaitMs, () => {
      over = true;
      this.#signal.notify();
    });
    try {
      for (;;) {
        const seen = this.#signal.version;
        const messages = await this.#tryFetch(options.maxMessages);
        if (messages.length > 0 || over || this.#woken || this.#closed) return messages;
        await this.#signal.wait(seen, LOOK_EVERY_MS);
      }
    } finally {
      timer.cancel();
      this.#woken = false;
    }
  }

  async commit(positions: readonly Position[]): Promise<void> {
    if (positions.length === 0) return;
    const { broker } = this.#world;
    const fence = this.fence();
    try {
      await this.#call(`commit ${this.#options.groupId}`, () => {
        broker.checkFence(fence, positions);
        broker.storePositions(fence.groupId, positions);
      });
    } catch (error) {
      if (error instanceof PartitionLostError) await this.rewind();
      throw error;
    }
  }

  /** What a commit inside the database's transaction shows (embedded profile). */
  fence(): Fence {
    return { groupId: this.#options.groupId, memberId: this.#readingAs, generation: this.#generation };
  }

  async rewind(): Promise<void> {
    this.#rewind = true;
    this.#refresh();
  }

  assignment(): readonly TopicPartition[] {
    return [...this.#reading.values()].map(bare);
  }

  pause(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.add(partitionKey(p));
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const p of partitions) this.#paused.delete(partitionKey(p));
    this.#signal.notify();
  }

  wake(): void {
    this.#woken = true;
    this.#signal.notify();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#heartbeat.cancel();
    this.#unlisten();
    this.#signal.notify();
    const memberId = this.#memberId;
    this.#memberId = null;
    if (memberId !== null)
      await this.#call('leave', () => this.#world.broker.leave(this.#options.groupId, memberId)).catch(() => undefined);
    this.#reading.clear();
    this.#onClosed(this);
  }

  #refresh(): void {
    this.#stale = true;
    this.#signal.notify();
  }

  /** One notification of a kind on its way at a time is enough: whoever hears it looks at everything. */
  #hear(kind: 'published' | 'rebalanced', call: () => void): void {
    if (!this.#life.alive) return this.#unlisten();
    if (this.#underWay.has(kind)) return;
    this.#underWay.add(kind);
    this.#life.after(this.#world.sim.random.int(0, 5), kind, () => {
      this.#underWay.delete(kind);
      if (!this.#world.faults.strikes('notificationLost', 'notification lost')) call();
    });
  }

  async #tryFetch(max: number): Promise<ReceivedMessage[]> {
    try {
      if (this.#stale && !this.#closed) await this.#takeOver();
      return await this.#fetch(max);
    } catch (error) {
      // A bus (and on the embedded profile its database) that is away is a quiet one.
      if (!isAway(error)) throw error;
      return [];
    }
  }

  /** Learns what the group gave and took, tells the owner, and only then reads from the new partitions. */
  async #takeOver(): Promise<void> {
    this.#stale = false;
    try {
      const holding = await this.#holding();
      if (holding === null) return;
      const memberId = this.#memberId ?? '';
      const kept = (key: string): boolean =>
        memberId === this.#readingAs && this.#reading.get(key)?.since === holding.partitions.get(key)?.since;
      const revoked = [...this.#reading].filter(([key]) => !kept(key)).map(([, p]) => bare(p));
      const assigned = [...holding.partitions].filter(([key]) => !kept(key)).map(([, p]) => bare(p));
      if (revoked.length + assigned.length > 0) await this.#options.onRebalance?.({ assigned, revoked });
      for (const p of revoked) this.#paused.delete(partitionKey(p));
      this.#adopt(holding, memberId, new Set(assigned.map(partitionKey)));
    } catch (error) {
      this.#stale = true;
      throw error;
    }
  }

  #adopt(holding: Holding, memberId: string, assigned: ReadonlySet<string>): void {
    const fromCommitted = this.#rewind;
    this.#rewind = false;
    const reading = new Map<string, ReadPosition>();
    for (const [key, held] of holding.partitions) {
      const before = this.#reading.get(key);
      reading.set(key, fromCommitted || assigned.has(key) || before === undefined ? held : before);
    }
    this.#reading = reading;
    this.#readingAs = memberId;
    this.#generation = holding.generation;
  }

  /** What this member holds; joins first when it is none, under an id that was never used. */
  async #holding(): Promise<Holding | null> {
    const { broker, sim } = this.#world;
    const { groupId, topics, from, instanceId } = this.#options;
    for (;;) {
      if (this.#closed) return null;
      if (this.#memberId === null) {
        const memberId = broker.newMemberId(groupId);
        // Only the first join replaces the former member of the name.
        const replaces = this.#joined ? null : (instanceId ?? null);
        const member = {
          memberId,
          topics,
          fromEnd: from === 'end',
          sessionTimeoutMs: this.#sessionTimeoutMs,
          instanceId: replaces,
        };
        await this.#call(`join ${groupId}`, () => broker.join(groupId, member, sim.nowMs));
        this.#joined = true;
        this.#memberId = memberId;
      }
      const memberId = this.#memberId;
      const holding = await this.#call(`holding ${groupId}`, () => broker.holding(groupId, memberId));
      if (holding !== null) return holding;
      if (this.#memberId === memberId) this.#memberId = null;
    }
  }

  async #fetch(max: number): Promise<ReceivedMessage[]> {
    const active = [...this.#reading.values()].filter((p) => !this.#paused.has(partitionKey(p)));
    if (active.length === 0 || this.#closed) return [];
    const turn = this.#turn++ % active.length;
    const order = [...active.slice(turn), ...active.slice(0, turn)];
    const messages = await this.#call('fetch', () => this.#world.broker.fetch(order, max));
    const wanted = messages.filter((m) => !this.#paused.has(partitionKey(m)));
    for (const message of wanted) {
      const read = this.#reading.get(partitionKey(message));
      if (read !== undefined) this.#reading.set(partitionKey(message), { ...read, nextOffset: message.offset + 1 });
    }
    return wanted;
  }

  #beat(): void {
    const memberId = this.#memberId;
    if (memberId === null || this.#closed) return;
    const { groupId } = this.#options;
    this.#call('heartbeat', () => this.#world.broker.heartbeat(groupId, memberId, this.#world.sim.nowMs)).then(
      (generation) => {
        if (generation !== this.#generation) this.#refresh();
      },
      () => undefined,
    );
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#world.network.call(this.#life, this.#world.server, what, effect);
  }
}

const bare = ({ topic, partition }: TopicPartition): TopicPartition => ({ topic, partition });

const isAway = (error: unknown): boolean =>
  error instanceof TrainyardError
    ? error.code === 'ServiceUnavailable'
    : sqlState(error) === null && isConnectionError(error);
