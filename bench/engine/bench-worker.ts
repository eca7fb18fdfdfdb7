import { randomUUID } from 'node:crypto';
import type { Bus, OutgoingMessage, Subscription } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { ExecuteActivity, MessageTypes } from '#lib/contracts/generated/messages.ts';
import type { MessageType } from '#lib/contracts/topics.ts';

const WORKER_ID = 'bench-worker';
const ANNOUNCE_EVERY_MS = 5_000;
const LANES = ['cpu', 'gpu'] as const;

interface Where {
  readonly bus: Bus;
  readonly codec: Codec;
}

/** The benchmark's process as the worker of both lanes: it takes commands from the bus and answers what the benchmark wants, when it wants. */
export class BenchWorker {
  readonly #bus: Bus;
  readonly #codec: Codec;
  readonly #slots: number;
  readonly #subscription: Subscription;
  readonly #incarnation = randomUUID();
  readonly #timer: NodeJS.Timeout;

  private constructor({ bus, codec }: Where, slots: number, subscription: Subscription) {
    this.#bus = bus;
    this.#codec = codec;
    this.#slots = slots;
    this.#subscription = subscription;
    this.#timer = setInterval(() => void this.#announce(), ANNOUNCE_EVERY_MS);
  }

  /** Joins both lanes and announces its slots. */
  static async start(where: Where, slots: number): Promise<BenchWorker> {
    const subscription = await where.bus.subscribe({
      groupId: 'bench-workers',
      topics: LANES.map((lane) => `lanes.${lane}`),
      from: 'end',
      sessionTimeoutMs: 60_000,
    });
    // Partitions come with a poll; on Kafka not with the first.
    while (subscription.assignment().length === 0) await subscription.poll({ maxMessages: 1, maxWaitMs: 100 });
    const worker = new BenchWorker(where, slots, subscription);
    await worker.#announce();
    return worker;
  }

  /** The next commands, at least one; the position is stored, as a worker does before it runs them. */
  async take(maxMessages: number): Promise<ExecuteActivity[]> {
    for (;;) {
      const messages = await this.#subscription.poll({ maxMessages, maxWaitMs: 1_000 });
      if (messages.length === 0) continue;
      const next = new Map(messages.map((m) => [`${m.topic}/${m.partition}`, { ...m, nextOffset: m.offset + 1 }]));
      // Not awaited before the answer: the time of arrival is what counts here.
      void this.#subscription.commit([...next.values()]);
      return messages.flatMap((received) => {
        const decoded = decodeMessage(this.#codec, received);
        return decoded.ok && decoded.message.type === 'ExecuteActivity' ? [decoded.message.payload] : [];
      });
    }
  }

  started(command: ExecuteActivity): OutgoingMessage {
    const startedAtMs = Date.now();
    return this.#message('ActivityStarted', command.workflowId, `started:${keyOf(command)}`, {
      ...this.#attempt(command),
      startedAtMs,
    });
  }

  checkpoint(command: ExecuteActivity, step: number): OutgoingMessage {
    const { workflowId, activityId, epoch } = command;
    const manifestKey = `checkpoints/${workflowId}/${epoch}/step-${step}/manifest.json`;
    const digest = 'a'.repeat(64);
    const payload = { workflowId, activityId, epoch, step, manifestKey, digest };
    return this.#message('CheckpointSaved', workflowId, `checkpoint:${keyOf(command)}:${step}`, payload);
  }

  completed(command: ExecuteActivity, output: unknown): OutgoingMessage {
    const now = Date.now();
    return this.#message('ActivityCompleted', command.workflowId, `completed:${keyOf(command)}`, {
      ...this.#attempt(command),
      startedAtMs: now,
      finishedAtMs: now,
      outputJson: JSON.stringify(output),
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#subscription.close();
  }

  #attempt({ workflowId, activityId, epoch }: ExecuteActivity) {
    return { workflowId, activityId, epoch, workerId: `${WORKER_ID}-cpu`, incarnation: this.#incarnation };
  }

  async #announce(): Promise<void> {
    const assignment = this.#subscription.assignment();
    await this.#bus.publish(
      LANES.map((lane) => {
        const workerId = `${WORKER_ID}-${lane}`;
        const partitions = assignment.filter(({ topic }) => topic === `lanes.${lane}`).map((p) => p.partition);
        return encodeMessage(this.#codec, {
          topic: 'workers.events',
          key: workerId,
          type: 'WorkerHeartbeat',
          payload: {
            workerId,
            incarnation: this.#incarnation,
            lane,
            slots: this.#slots,
            running: [],
            partitions,
            deviceJson: null,
          },
          envelope: { id: `worker:${workerId}:${Date.now()}`, source: '/bench', timeMs: Date.now() },
        });
      }),
    );
  }

  #message<T extends MessageType>(type: T, key: string, id: string, payload: MessageTypes[T]): OutgoingMessage {
    const envelope = { id, source: '/bench', timeMs: Date.now() };
    return encodeMessage(this.#codec, { topic: 'activities.events', key, type, payload, envelope });
  }
}

const keyOf = ({ workflowId, activityId, epoch }: ExecuteActivity): string => `${workflowId}:${activityId}:${epoch}`;
