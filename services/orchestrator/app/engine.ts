import type { Position, ReceivedMessage, Subscription, TopicPartition } from '#lib/bus/port.ts';
import { deadLetter, type Decoded, decodeMessage, type Message } from '#lib/contracts/envelope.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import type { WorkflowMessage } from '../domain/admission.ts';
import { Announcements } from './announcements.ts';
import { Batch } from './batch.ts';
import type { Cell } from './cell.ts';
import { Decider, type DecisionContext } from './decider.ts';
import { Dispatcher } from './dispatcher.ts';
import { Dispatching } from './dispatching.ts';
import { Heartbeats } from './heartbeats.ts';
import { isOperationalFailure } from './operational-failure.ts';
import { Peers } from './peers.ts';
import type { EnginePorts, EngineSettings } from './ports.ts';
import { ShardMemory } from './shard.ts';
import { FencedError } from './store.ts';
import { Upkeep } from './upkeep.ts';

/** The shard whose owner is the dispatcher: queue, placement, workers. */
const DISPATCHER_SHARD = -1;

const GROUP = 'orchestrator';
const TOPICS = ['orchestrator.commands', 'activities.events', 'workers.events'] as const;

/** Longest wait for messages: bounds how late a lease or an execution timeout is noticed. */
const TICK_MS = 100;

/** A dead orchestrator's partitions move on after this; a pause of ours must stay below it. */
const SESSION_TIMEOUT_MS = 4_000;

/** Wait before another try when the database or the bus cannot be reached. */
const RETRY_MS = 250;

/**
 * The orchestrator's loop. One turn: poll a batch -> load what it names -> fold -> upkeep (leases, timeouts, timers) -> place -> commit
 * everything in one transaction. Any failure throws away what is in memory and starts again from the database and the committed positions.
 */
export class Engine {
  readonly #ports: EnginePorts;
  readonly #settings: EngineSettings;
  readonly #memory: ShardMemory;
  readonly #decider: Decider;
  readonly #heartbeats: Heartbeats;
  readonly #upkeep: Upkeep;
  readonly #dispatching: Dispatching;
  readonly #peers: Peers;
  #subscription: Subscription | null = null;
  #dispatcher: Dispatcher | null = null;
  #stopping = false;
  #loop: Promise<void> | null = null;
  /** Messages to take one at a time after a batch failed for a reason of its content. */
  #isolate = 0;
  /** The one message that cannot be committed; it goes to the dead letters. */
  #poison: { position: Position; reason: string } | null = null;

  constructor(ports: EnginePorts, settings: EngineSettings) {
    this.#ports = ports;
    this.#settings = settings;
    this.#memory = new ShardMemory(ports.store, ports.registry);
    const announce = new Announcements(ports.codec);
    this.#decider = new Decider(ports.registry, this.#memory, announce);
    this.#heartbeats = new Heartbeats(this.#memory, announce, settings.leases);
    this.#upkeep = new Upkeep(ports, this.#memory, this.#decider, settings.leases);
    this.#dispatching = new Dispatching(ports, this.#memory, this.#decider, settings);
    this.#peers = new Peers(ports, this.#memory, this.#decider, this.#heartbeats, settings);
  }

  /** Joins the group and runs until `stop`. */
  async start(): Promise<void> {
    this.#subscription = await this.#ports.bus.subscribe({
      groupId: GROUP,
      topics: TOPICS,
      from: 'beginning',
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      ...(this.#settings.instanceId === undefined ? {} : { instanceId: this.#settings.instanceId }),
      onRebalance: (change) => this.#rebalance(change),
    });
    this.#loop = this.#run(this.#subscription);
  }

  /** Finishes the turn that is under way and leaves the group, so that others take over at once. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#subscription?.wake();
    await this.#loop;
    await this.#subscription?.close();
  }

  /** Another orchestrator on the same database committed something: look at once instead of at the next interval. */
  peersChanged(): void {
    this.#peers.notify();
    this.#subscription?.wake();
  }

  /** For readiness and metrics. */
  status(): { partitions: number[]; dispatcher: boolean; queued: number; leases: number } {
    return {
      partitions: this.#memory.partitions,
      dispatcher: this.#dispatcher !== null,
      queued: this.#dispatcher?.queued ?? 0,
      leases: this.#memory.leases.size,
    };
  }

  /**
   * While one batch is being committed, the next is polled and decided on top of it; it is committed only after the first one was. When
   * a commit fails, everything decided since is forgotten with it.
   */
  async #run(subscription: Subscription): Promise<void> {
    let before: Decided = NOTHING;
    while (!this.#stopping) {
      let messages: readonly ReceivedMessage[] = [];
      try {
        const maxMessages = this.#isolate > 0 ? 1 : this.#settings.maxBatch;
        messages = await subscription.poll({ maxMessages, maxWaitMs: this.#wait() });
        await this.#ports.codec.prepare(messages.map((message) => message.value));
        const batch = await this.#turn(messages, before.committed);
        await before.committed.catch((error: unknown) => {
          // The batch before is at fault, not this one.
          messages = before.messages;
          throw error;
        });
        // Here and nowhere else: between two turns, and never a workflow that the batch in hand has changed.
        this.#memory.settle(before.cells, batch.cells);
        before = { messages, cells: batch.cells, committed: this.#commit(batch) };
        // Its failure is met at the next turn; until then it is not unhandled.
        before.committed.catch(() => undefined);
        if (this.#isolate > 0) await before.committed;
        this.#isolate = Math.max(0, this.#isolate - messages.length);
      } catch (error) {
        await before.committed.catch(() => undefined);
        before = NOTHING;
        await this.#recover(subscription, messages, error);
      }
    }
    await before.committed.catch((error: unknown) =>
      this.#ports.log.warn({ err: error }, 'last batch not committed: it comes again'),
    );
  }

  #wait(): number {
    const due = Math.min(this.#upkeep.nextDueMs ?? Infinity, this.#dispatching.nextDueMs ?? Infinity);
    return Math.max(0, Math.min(TICK_MS, due - this.#ports.clock.now()));
  }

  /** Decides one batch in memory. */
  async #turn(received: readonly ReceivedMessage[], committed: Promise<void>): Promise<Batch> {
    const nowMs = this.#ports.clock.now();
    const batch = new Batch(nowMs);
    const context: DecisionContext = { batch, dispatcher: this.#dispatcher, nowMs };
    const messages = this.#decode(batch, received, nowMs);
    await this.#memory.load(messages.filter(needsCell).map((m) => m.key));
    for (const { message, source } of messages) this.#handle(context, message, source);
    await this.#upkeep.run(context);
    await this.#peers.run(context, committed);
    await this.#dispatching.run(context);
    this.#decider.showJobs(context);
    return batch;
  }

  async #commit(batch: Batch): Promise<void> {
    if (batch.isEmpty) return;
    const fences = [...this.#memory.epochs].map(([shard, epoch]) => ({ shard, epoch }));
    await this.#ports.store.commit(batch.toCommit(fences, this.#ports.owner));
  }

  #decode(batch: Batch, received: readonly ReceivedMessage[], nowMs: number): DecodedMessage[] {
    const messages: DecodedMessage[] = [];
    for (const source of received) {
      batch.received(source);
      const decoded: Decoded = this.#isPoison(source)
        ? { ok: false, code: 'UndecodableMessage', reason: this.#poison?.reason ?? '' }
        : decodeMessage(this.#ports.codec, source);
      if (decoded.ok) messages.push({ message: decoded.message, source, key: decoded.message.key });
      else this.#reject(batch, source, decoded, nowMs);
    }
    return messages;
  }

  #reject(batch: Batch, source: ReceivedMessage, refusal: { code: ErrorCode; reason: string }, nowMs: number): void {
    const { topic, partition, offset } = source;
    this.#ports.log.warn({ topic, partition, offset, ...refusal }, 'message goes to the dead letters');
    batch.messages.push(deadLetter(this.#ports.codec, source, refusal, GROUP, nowMs));
  }

  #handle(context: DecisionContext, message: Message, source: ReceivedMessage): void {
    try {
      if (message.type === 'WorkerHeartbeat') return this.#heartbeats.worker(context, message.payload, message.timeMs);
      if (message.type === 'ActivityProgressed') return this.#heartbeats.attempt(context, message.payload);
      if (!isWorkflowMessage(message)) return;
      const cell = this.#memory.get(message.key);
      if (cell !== undefined) this.#decider.handle(context, cell, message);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      this.#reject(context.batch, source, { code: 'UndecodableMessage', reason: messageOf(error) }, context.nowMs);
    }
  }

  async #rebalance(change: { assigned: readonly TopicPartition[]; revoked: readonly TopicPartition[] }): Promise<void> {
    const assigned = shardsOf(change.assigned);
    this.#memory.drop(shardsOf(change.revoked));
    this.#dispatcher = null;
    try {
      await this.#takeOver(assigned);
    } catch (error) {
      // The subscription tries again. Until then the shards are nobody's: claimed and not read, they counted as ours, and what runs in them as nothing.
      this.#memory.drop(assigned);
      throw error;
    }
  }

  /** A dispatcher that knows the workers and what our shards run; the others' work is read before it places anything. */
  async #newDispatcher(): Promise<void> {
    const { workerTimeoutMs } = this.#settings;
    const dispatcher = new Dispatcher({ workerTimeoutMs });
    dispatcher.recall(await this.#ports.store.workers(this.#ports.clock.now() - workerTimeoutMs));
    this.#dispatching.adopt(dispatcher);
    this.#peers.notify();
    this.#dispatcher = dispatcher;
  }

  async #takeOver(shards: readonly number[]): Promise<void> {
    const nowMs = this.#ports.clock.now();
    const parked = await this.#memory.takeOver(shards, nowMs);
    // Workflows changed hands: what a former dispatcher counted as ours or as others' is wrong now, and nobody would ever take it back.
    if (this.#memory.epochs.has(DISPATCHER_SHARD)) await this.#newDispatcher();
    this.#upkeep.tookOver(parked);
    if (shards.length > 0) this.#ports.log.info({ shards, queued: this.#memory.unplaced.size }, 'took over shards');
  }

  /** Everything in memory may be wrong now: forget it, claim the shards again and read from the committed positions. */
  async #recover(subscription: Subscription, messages: readonly ReceivedMessage[], error: unknown): Promise<void> {
    if (error instanceof FencedError) this.#ports.log.warn({}, 'fenced: another orchestrator owns a shard of ours');
    else this.#ports.log.error({ err: error, messages: messages.length }, 'batch failed, starting again from the log');
    if (!(error instanceof FencedError) && !isOperationalFailure(error)) this.#suspect(messages, error);
    // Whatever it was, it may come again at once: a failing turn must not become a busy loop.
    await this.#ports.clock.sleep(RETRY_MS);
    while (!this.#stopping) {
      try {
        const shards = shardsOf(subscription.assignment());
        this.#memory.dropAll();
        this.#dispatcher = null;
        await subscription.rewind();
        await this.#takeOver(shards);
        return;
      } catch (again) {
        this.#ports.log.error({ err: again }, 'cannot start again yet');
        await this.#ports.clock.sleep(RETRY_MS);
      }
    }
  }

  /** A batch failed for its content: look for the one message by taking them singly; a single one that fails is the one. */
  #suspect(messages: readonly ReceivedMessage[], error: unknown): void {
    const [only, ...others] = messages;
    if (only === undefined) return;
    if (others.length > 0) this.#isolate = messages.length;
    else {
      const { topic, partition, offset } = only;
      this.#poison = { position: { topic, partition, nextOffset: offset }, reason: messageOf(error) };
      this.#isolate = Math.max(this.#isolate, 1);
    }
  }

  #isPoison(source: ReceivedMessage): boolean {
    const position = this.#poison?.position;
    return (
      position?.topic === source.topic &&
      position.partition === source.partition &&
      position.nextOffset === source.offset
    );
  }
}

/** A batch whose commit is under way. */
interface Decided {
  readonly messages: readonly ReceivedMessage[];
  readonly cells: Iterable<Cell>;
  readonly committed: Promise<void>;
}

const NOTHING: Decided = { messages: [], cells: [], committed: Promise.resolve() };

interface DecodedMessage {
  readonly message: Message;
  readonly source: ReceivedMessage;
  readonly key: string;
}

const isWorkflowMessage = (message: Message): message is WorkflowMessage =>
  message.type === 'StartWorkflow' ||
  message.type === 'CancelJob' ||
  message.type === 'SignalWorkflow' ||
  'activityId' in message.payload;

const needsCell = ({ message }: DecodedMessage): boolean =>
  message.type !== 'ActivityProgressed' && isWorkflowMessage(message);

/** The shards that bus partitions stand for: the workflow partitions by the commands topic, the dispatcher by the workers topic. */
function shardsOf(partitions: readonly TopicPartition[]): number[] {
  return partitions.flatMap(({ topic, partition }) => {
    if (topic === 'orchestrator.commands') return [partition];
    return topic === 'workers.events' ? [DISPATCHER_SHARD] : [];
  });
}
