import type { Bus, Subscription } from '#lib/bus/port.ts';
import type { Logger } from '#lib/service/logger.ts';
import { type IngressCounts, type IngressPorts, takeRequests } from '../app/ingress.ts';

/** Requests of one transaction at most: some 250 ms of work, and the memory of a batch. */
const MAX_BATCH = 500;
/** Wait before a batch that could not be stored is taken again. */
const RETRY_MS = 500;

/** Reads `jobs.requests` until it is stopped. Several gateways share the partitions. */
export async function startIngress(
  bus: Bus,
  ports: Omit<IngressPorts, 'subscription'>,
  observe: { readonly logger: Logger; readonly count: (outcome: keyof IngressCounts, n: number) => void },
): Promise<{ readonly ended: Promise<void>; stop(): Promise<void> }> {
  const subscription = await bus.subscribe({
    groupId: 'gateway-ingress',
    topics: ['jobs.requests'],
    from: 'beginning',
  });
  const stopping = new AbortController();
  const ended = (async () => {
    while (!stopping.signal.aborted) await turn(subscription, ports, observe);
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

async function turn(
  subscription: Subscription,
  ports: Omit<IngressPorts, 'subscription'>,
  { logger, count }: Parameters<typeof startIngress>[2],
): Promise<void> {
  try {
    const messages = await subscription.poll({ maxMessages: MAX_BATCH, maxWaitMs: 1_000 });
    if (messages.length === 0) return;
    const counts = await takeRequests({ ...ports, subscription }, messages, Date.now());
    for (const [outcome, n] of Object.entries(counts)) count(outcome as keyof IngressCounts, n);
  } catch (error) {
    logger.warn({ err: error }, 'requests not stored, taking them again');
    await subscription.rewind();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
