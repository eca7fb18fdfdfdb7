import { setTimeout as delay } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { Bus, Subscription } from '#lib/bus/port.ts';
import { TOPICS } from '#lib/contracts/topics.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { Registry } from '#lib/service/metrics.ts';
import { Intake, type IntakeCounts, type IntakePorts } from '../app/intake.ts';

/** Observations of a batch at most: 5 MB of them, and half a second of work. Every batch stores its versions' sketches, so larger is cheaper. */
const MAX_BATCH = 5_000;
/** Less than that and nothing else was waiting: the clock may close windows. */
const CAUGHT_UP_BELOW = MAX_BATCH / 2;
/** How long a quiet bus is waited for, and thus how late a silent version's window closes. */
const MAX_WAIT_MS = 1_000;
/** Wait before another try when the database cannot be reached. */
const RETRY_MS = 500;

const TOPIC = 'production.observations';

export interface LoopObserver {
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** Takes observations in until it is stopped. Several monitors share the partitions. */
export async function startIntake(
  bus: Bus,
  ports: Omit<IntakePorts, 'subscription'>,
  limits: { readonly observationsPerWindow: number },
  { logger, metrics }: LoopObserver,
): Promise<{ readonly ended: Promise<void>; stop(): Promise<void> }> {
  const subscription = await bus.subscribe({
    groupId: 'drift-monitor',
    topics: [TOPIC],
    from: 'beginning',
    sessionTimeoutMs: 6_000,
  });
  const intake = new Intake({ ...ports, subscription }, limits);
  const count = counters(metrics);
  const stopping = new AbortController();
  const turn = async (): Promise<void> => {
    try {
      count(await takeBatch(intake, subscription));
    } catch (error) {
      logger.warn({ err: error }, 'batch not stored, taking it again');
      await subscription.rewind().catch(() => undefined);
      await delay(RETRY_MS);
    }
  };
  const ended = (async () => {
    while (!stopping.signal.aborted) await turn();
  })();
  return {
    ended,
    stop: async () => {
      stopping.abort();
      subscription.wake();
      await ended;
      await subscription.close();
    },
  };
}

async function takeBatch(intake: Intake, subscription: Subscription): Promise<IntakeCounts> {
  const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: MAX_WAIT_MS });
  const caughtUp = messages.length < CAUGHT_UP_BELOW;
  const taken = await intake.take(messages, { nowMs: Date.now(), caughtUp: false });
  if (!caughtUp) return taken;
  const own = new Set(subscription.assignment().map(({ partition }) => partition));
  const closed = await intake.closeByClock(Date.now(), { own, count: TOPICS[TOPIC].partitions });
  return { observations: taken.observations, windows: sum(taken.windows, closed.windows) };
}

function sum(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> {
  const all: Record<string, number> = { ...a };
  for (const [key, count] of Object.entries(b)) all[key] = (all[key] ?? 0) + count;
  return all;
}

function counters(metrics: Registry): (counts: IntakeCounts) => void {
  const registers = [metrics];
  const observations = new Counter({
    name: 'trainyard_observations_total',
    help: 'Production observations by outcome; one may count in several (outOfOrder and stored)',
    labelNames: ['outcome'],
    registers,
  });
  const windows = new Counter({
    name: 'trainyard_drift_windows_total',
    help: 'Closed windows by signalled, or the reason why not',
    labelNames: ['outcome'],
    registers,
  });
  return (counts) => {
    for (const [outcome, n] of Object.entries(counts.observations)) observations.inc({ outcome }, n);
    for (const [outcome, n] of Object.entries(counts.windows)) windows.inc({ outcome }, n);
  };
}
