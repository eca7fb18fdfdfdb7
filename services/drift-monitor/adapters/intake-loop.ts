import { setTimeout as delay } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { Bus } from '#lib/bus/port.ts';
import { TOPICS } from '#lib/contracts/topics.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { Registry } from '#lib/service/metrics.ts';
import { Intake, type IntakeCounts, type IntakePorts } from '../app/intake.ts';

/** Observations of a batch at most: 5 MB of them, and half a second of work. Every batch stores its versions' sketches, so larger is cheaper. */
const MAX_BATCH = 5_000;
/** How long a quiet bus is waited for, and how often windows of silent versions are looked for. */
const CLOCK_EVERY_MS = 1_000;
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
  let lookAtMs = 0;
  const turn = async (): Promise<void> => {
    try {
      const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: CLOCK_EVERY_MS });
      const nowMs = Date.now();
      if (messages.length > 0) count(await intake.take(messages, nowMs));
      if (nowMs < lookAtMs) return;
      const own = new Set(subscription.assignment().map(({ partition }) => partition));
      // Woken to stop, it has not waited: that is no quiet.
      const quiet = messages.length === 0 && !stopping.signal.aborted;
      count(await intake.closeByClock({ nowMs, quiet, own, partitions: TOPICS[TOPIC].partitions }));
      lookAtMs = nowMs + CLOCK_EVERY_MS;
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
