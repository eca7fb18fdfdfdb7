import { setTimeout as delay } from 'node:timers/promises';
import { Counter } from 'prom-client';
import type { Bus } from '#lib/bus/port.ts';
import type { Logger } from '#lib/service/logger.ts';
import type { Registry } from '#lib/service/metrics.ts';
import { type SignalPorts, takeSignals } from '../app/retrain-signals.ts';

/** Signals are rare: one per model and cooldown. */
const MAX_BATCH = 100;
/** Wait before a batch that could not be stored is taken again. */
const RETRY_MS = 500;

/** Reads `retrain.signals` until it is stopped. Several gateways share the partitions. */
export async function startRetrains(
  bus: Bus,
  ports: Omit<SignalPorts, 'subscription'>,
  { logger, metrics }: { readonly logger: Logger; readonly metrics: Registry },
): Promise<{ readonly ended: Promise<void>; stop(): Promise<void> }> {
  const subscription = await bus.subscribe({
    groupId: 'gateway-retrain',
    topics: ['retrain.signals'],
    from: 'beginning',
  });
  const signals = new Counter({
    name: 'trainyard_retrain_signals_total',
    help: 'Records of retrain.signals by outcome: submitted, refused, requested, repeated, unreadable.',
    labelNames: ['outcome'],
    registers: [metrics],
  });
  const stopping = new AbortController();
  const turn = async (): Promise<void> => {
    try {
      const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: 1_000 });
      if (messages.length === 0) return;
      const counts = await takeSignals({ ...ports, subscription }, messages, Date.now());
      for (const [outcome, n] of Object.entries(counts)) signals.inc({ outcome }, n as number);
    } catch (error) {
      logger.warn({ err: error }, 'retrain signals not taken, taking them again');
      await subscription.rewind();
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
