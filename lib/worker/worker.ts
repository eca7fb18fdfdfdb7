import { type Bus, PartitionLostError, type ReceivedMessage, type Subscription } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { deadLetter, decodeMessage, encodeMessage } from '#lib/contracts/envelope.ts';
import type { ExecuteActivity, MessageTypes, StopActivity } from '#lib/contracts/generated/messages.ts';
import type { MessageType } from '#lib/contracts/topics.ts';
import type { Clock, Timer } from '#lib/kernel/clock.ts';
import { systemClock } from '#lib/service/system-clock.ts';
import type { Activity, EndReason } from './activity.ts';
import type { AttemptClaims } from './attempt-claims.ts';
import { Attempt, type AttemptEnd } from './attempt.ts';
import { EventOutbox } from './outbox.ts';

export interface WorkerOptions {
  /** Stable over restarts, unique in its lane. */
  readonly workerId: string;
  /** Changes at every start of the process. */
  readonly incarnation: string;
  readonly lane: 'cpu' | 'gpu';
  /** Attempts at once. */
  readonly slots: number;
  /** How often capacity is announced, ms. */
  readonly announceEveryMs: number;
  readonly bus: Bus;
  readonly codec: Codec;
  /** Decides between workers that got the same command; null on a bus where one command is never with two of them. */
  readonly claims: AttemptClaims | null;
  readonly activities: Readonly<Record<string, Activity>>;
  /** Device counters for the announcements; anything that is JSON. */
  readonly devices?: () => Promise<unknown>;
  readonly log: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  /** Called when a loop of the worker ended with an error: the process must not live on without it. */
  readonly onBroken: (error: unknown) => void;
  /** Default: the time of this computer. */
  readonly clock?: Clock;
}

/** Attempts shorter than this report their start with their end: one message and one event less for short work. */
const STARTED_AFTER_MS = 25;

/** How often due heartbeats are looked for. */
const HEARTBEAT_SCAN_MS = 100;

/** Messages of one poll at most. */
const MAX_POLL = 1_000;

/** Ended attempts whose keys are remembered, so that a command that comes twice runs once. */
const REMEMBERED = 10_000;

const SESSION_TIMEOUT_MS = 6_000;

/** Wait before messages that could not be taken are taken again. */
const RETRY_MS = 500;

/**
 * A worker of one lane. The loop takes commands, commits their offsets and starts attempts outside the loop; answers go out by event.
 *
 * What happens when it dies: its attempts lose their leases by missing heartbeats (or by the next incarnation's announcement) and start again
 * elsewhere under the next epoch. A command is claimed and committed before it runs, so that no two workers ever run one epoch.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #clock: Clock;
  readonly #attempts = new Map<string, Attempt>();
  readonly #ended = new Set<string>();
  readonly #outbox: EventOutbox;
  #lane: Subscription | null = null;
  #control: Subscription | null = null;
  #loops: Promise<void>[] = [];
  #timers: Timer[] = [];
  #stopping = false;
  /** Attempts had their time: those that still run are left to their leases. */
  #leaving = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#outbox = new EventOutbox(
      options.bus,
      (error) => options.log.warn({ err: error }, 'cannot publish events yet'),
      this.#clock,
    );
  }

  get running(): number {
    return this.#attempts.size;
  }

  async start(): Promise<void> {
    const { bus, lane, workerId, incarnation, announceEveryMs, onBroken } = this.#options;
    this.#control = await bus.subscribe({
      groupId: `control-${workerId}-${incarnation}`,
      topics: ['lanes.control'],
      from: 'end',
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
    });
    this.#lane = await bus.subscribe({
      groupId: `${lane}-workers`,
      topics: [`lanes.${lane}`],
      from: 'beginning',
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      instanceId: workerId,
      onRebalance: () => {
        this.#clock.after(0, () => this.#announce());
      },
    });
    this.#loops = [this.#laneLoop(this.#lane), this.#controlLoop(this.#control)];
    for (const loop of this.#loops) loop.catch(onBroken);
    this.#timers = [
      this.#clock.every(announceEveryMs, () => this.#announce()),
      this.#clock.every(HEARTBEAT_SCAN_MS, () => this.#heartbeats(this.#clock.now())),
    ];
  }

  /** Gives every attempt the chance to save its state, reports, leaves. Attempts that do not end within `boundMs` are left to their leases. */
  async stop(boundMs: number): Promise<void> {
    this.#stopping = true;
    this.#announce();
    for (const attempt of this.#attempts.values()) attempt.end('WorkerStopping');
    const until = this.#clock.now() + boundMs;
    this.#lane?.wake();
    while (this.#attempts.size > 0 && this.#clock.now() < until) await this.#clock.sleep(20);
    for (const timer of this.#timers) timer.cancel();
    this.#leaving = true;
    this.#control?.wake();
    // Before the last flush: a command that the lane loop took meanwhile is declined, and that must be heard.
    await Promise.allSettled(this.#loops);
    await this.#outbox.flush(Math.max(500, until - this.#clock.now()));
    await Promise.all([this.#lane?.close(), this.#control?.close()]);
  }

  async #laneLoop(subscription: Subscription): Promise<void> {
    while (!this.#stopping) {
      const messages = await subscription.poll({ maxMessages: MAX_POLL, maxWaitMs: 1_000 });
      if (messages.length === 0 || !(await this.#prepared(subscription, messages))) continue;
      const commands = this.#decode(messages, 'ExecuteActivity');
      const claimed = await this.#claim(subscription, commands);
      if (claimed === null) continue;
      const committed = await this.#commit(subscription, messages);
      // A claim holds whatever becomes of the position: who takes the command next is refused.
      if (committed || this.#options.claims !== null) for (const command of claimed) this.#take(command);
    }
  }

  async #controlLoop(subscription: Subscription): Promise<void> {
    while (!this.#leaving) {
      const messages = await subscription.poll({ maxMessages: MAX_POLL, maxWaitMs: 1_000 });
      if (!(await this.#prepared(subscription, messages))) continue;
      for (const stop of this.#decode(messages, 'StopActivity')) this.#stopAttempt(stop);
      if (messages.length > 0) await this.#commit(subscription, messages);
    }
  }

  /** False when schemas of these messages cannot be learnt now: they come again. */
  async #prepared(subscription: Subscription, messages: readonly ReceivedMessage[]): Promise<boolean> {
    return this.#orAgain(subscription, async () => {
      await this.#options.codec.prepare(messages.map((message) => message.value));
      return true;
    });
  }

  /** The commands that are this worker's to run; null when that cannot be asked now: they come again. */
  async #claim(
    subscription: Subscription,
    commands: readonly ExecuteActivity[],
  ): Promise<readonly ExecuteActivity[] | null> {
    const { claims, workerId, incarnation } = this.#options;
    if (claims === null || commands.length === 0) return commands;
    const won = await this.#orAgain(subscription, () => claims.claim(commands, { workerId, incarnation }));
    return won === false ? null : won;
  }

  /** Runs it; when that fails, waits a moment and takes the messages again: false. */
  async #orAgain<T>(subscription: Subscription, work: () => Promise<T>): Promise<T | false> {
    try {
      return await work();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'cannot take messages yet');
      await subscription.rewind();
      await this.#clock.sleep(RETRY_MS);
      return false;
    }
  }

  /** False when a partition moved on: its commands are another worker's now, or come again. */
  async #commit(subscription: Subscription, messages: readonly ReceivedMessage[]): Promise<boolean> {
    const next = new Map(
      messages.map((m) => [
        `${m.topic}/${m.partition}`,
        { topic: m.topic, partition: m.partition, nextOffset: m.offset + 1 },
      ]),
    );
    try {
      await subscription.commit([...next.values()]);
      return true;
    } catch (error) {
      if (!(error instanceof PartitionLostError))
        this.#options.log.warn({ err: error }, 'cannot commit positions, taking them again');
      await subscription.rewind();
      return false;
    }
  }

  #decode<T extends 'ExecuteActivity' | 'StopActivity'>(
    messages: readonly ReceivedMessage[],
    type: T,
  ): MessageTypes[T][] {
    const payloads: MessageTypes[T][] = [];
    for (const received of messages) {
      const decoded = decodeMessage(this.#options.codec, received);
      if (decoded.ok && decoded.message.type === type) payloads.push(decoded.message.payload as MessageTypes[T]);
      if (!decoded.ok)
        this.#outbox.add(deadLetter(this.#options.codec, received, decoded, this.#options.workerId, this.#clock.now()));
    }
    return payloads;
  }

  #take(command: ExecuteActivity): void {
    const key = attemptKey(command);
    if (this.#attempts.has(key) || this.#ended.has(key)) return;
    const activity = this.#options.activities[command.activity];
    if (activity === undefined) return this.#decline(command, 'UnknownActivity');
    if (this.#stopping) return this.#decline(command, 'Stopping');
    if (this.#attempts.size >= this.#options.slots) return this.#decline(command, 'NoFreeSlot');
    const attempt = new Attempt(command, this.#clock.now());
    this.#attempts.set(key, attempt);
    void this.#run(key, attempt, activity);
  }

  async #run(key: string, attempt: Attempt, activity: Activity): Promise<void> {
    const { workflowId, activityId, epoch } = attempt.command;
    let timer: Timer | null = null;
    const announceStart = (): void => {
      if (timer === null) return;
      timer.cancel();
      timer = null;
      this.#send('ActivityStarted', workflowId, `started:${key}`, {
        ...this.#attemptOf(attempt),
        startedAtMs: attempt.startedAtMs,
      });
    };
    timer = this.#clock.after(STARTED_AFTER_MS, announceStart);
    const end = await attempt.run(activity, (checkpoint) => {
      // Nobody takes a checkpoint or a curve from an attempt that was not heard of.
      announceStart();
      const id = `checkpoint:${key}:${checkpoint.step}`;
      this.#send('CheckpointSaved', workflowId, id, { workflowId, activityId, epoch, ...checkpoint });
    });
    if (attempt.hasMetrics) {
      announceStart();
      this.#heartbeat(attempt);
    }
    timer?.cancel();
    timer = null;
    this.#attempts.delete(key);
    this.#remember(key);
    this.#report(key, attempt, end);
  }

  #report(key: string, attempt: Attempt, end: AttemptEnd): void {
    const { workflowId } = attempt.command;
    const common = { ...this.#attemptOf(attempt), startedAtMs: attempt.startedAtMs, finishedAtMs: this.#clock.now() };
    switch (end.kind) {
      case 'completed':
        return this.#send('ActivityCompleted', workflowId, `completed:${key}`, {
          ...common,
          outputJson: end.outputJson,
        });
      case 'yielded':
        return this.#send('ActivityYielded', workflowId, `yielded:${key}`, {
          ...common,
          reason: end.reason,
          step: end.step,
        });
      case 'failed': {
        const { code, message, retryable, logTail } = end;
        if (attempt.isAbandoned) this.#options.log.info(this.#attemptOf(attempt), 'attempt abandoned, as asked');
        else this.#options.log.warn({ ...this.#attemptOf(attempt), code, retryable }, message);
        return this.#send('ActivityFailed', workflowId, `failed:${key}`, {
          ...common,
          code,
          message,
          retryable,
          logTail,
        });
      }
    }
  }

  #decline(command: ExecuteActivity, reason: string): void {
    const { workflowId, activityId, epoch } = command;
    const { workerId, incarnation } = this.#options;
    const id = `declined:${attemptKey(command)}:${workerId}`;
    this.#send('ActivityDeclined', workflowId, id, { workflowId, activityId, epoch, workerId, incarnation, reason });
  }

  #stopAttempt({ workflowId, activityId, epoch, reason }: StopActivity): void {
    for (const { command } of this.#attempts.values())
      if (command.workflowId === workflowId && command.activityId === activityId && command.epoch <= epoch)
        this.#attempts.get(attemptKey(command))?.end(reason satisfies EndReason);
  }

  #heartbeats(nowMs: number): void {
    for (const attempt of this.#attempts.values()) {
      if (nowMs < attempt.nextHeartbeatAtMs) continue;
      attempt.nextHeartbeatAtMs = nowMs + attempt.command.heartbeatEveryMs;
      this.#heartbeat(attempt);
    }
  }

  #heartbeat(attempt: Attempt): void {
    const { progress, metrics } = attempt.takeProgress();
    const { workflowId } = attempt.command;
    const id = `progress:${attemptKey(attempt.command)}:${this.#options.incarnation}:${this.#clock.now()}`;
    this.#send('ActivityProgressed', workflowId, id, {
      ...this.#attemptOf(attempt),
      step: progress.step,
      stepsTotal: progress.stepsTotal,
      throughput: progress.throughput ?? null,
      deviceJson: progress.device === undefined ? null : JSON.stringify(progress.device),
      metrics,
    });
  }

  #announce(): void {
    void this.#announcement().then(
      (payload) =>
        this.#send(
          'WorkerHeartbeat',
          payload.workerId,
          `worker:${payload.workerId}:${payload.incarnation}:${this.#clock.now()}`,
          payload,
        ),
      (error: unknown) => this.#options.log.warn({ err: error }, 'cannot read device counters'),
    );
  }

  async #announcement(): Promise<MessageTypes['WorkerHeartbeat']> {
    const { workerId, incarnation, lane, slots, devices } = this.#options;
    const device = await devices?.();
    return {
      workerId,
      incarnation,
      lane,
      slots: this.#stopping ? 0 : slots,
      running: [...this.#attempts.values()].map(({ command: { workflowId, activityId, epoch } }) => ({
        workflowId,
        activityId,
        epoch,
      })),
      partitions: (this.#lane?.assignment() ?? []).map((p) => p.partition),
      deviceJson: device === undefined ? null : JSON.stringify(device),
    };
  }

  #attemptOf(attempt: Attempt) {
    const { workflowId, activityId, epoch } = attempt.command;
    return { workflowId, activityId, epoch, workerId: this.#options.workerId, incarnation: this.#options.incarnation };
  }

  #send<T extends MessageType>(type: T, key: string, id: string, payload: MessageTypes[T]): void {
    const topic = type === 'WorkerHeartbeat' ? 'workers.events' : 'activities.events';
    const envelope = { id, source: `/trainyard/${this.#options.lane}-worker`, timeMs: this.#clock.now() };
    this.#outbox.add(encodeMessage(this.#options.codec, { topic, key, type, payload, envelope }));
  }

  #remember(key: string): void {
    this.#ended.add(key);
    if (this.#ended.size <= REMEMBERED) return;
    const [oldest] = this.#ended;
    if (oldest !== undefined) this.#ended.delete(oldest);
  }
}

const attemptKey = (attempt: { workflowId: string; activityId: string; epoch: number }): string =>
  `${attempt.workflowId}:${attempt.activityId}:${attempt.epoch}`;
