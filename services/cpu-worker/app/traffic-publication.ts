import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#lib/kernel/errors.ts';
import { type AnnouncePorts, announceTraffic } from '#lib/serving/announce-traffic.ts';
import { deliverTraffic, type Webhook } from '#lib/serving/deliver-traffic.ts';
import type { Logger } from '#lib/service/logger.ts';

/** How soon a model server outside hears of a change. */
const EVERY_MS = 1_000;

/** Deliveries of one turn at most, so that announcing goes on. */
const MAX_DELIVERIES = 100;

/** Tells the world which versions answer, until `signal`: by event, and by webhook when there is one. Never rejects: an outage is waited out. */
export async function publishTraffic(
  ports: Omit<AnnouncePorts, 'webhook'> & { readonly log: Logger },
  webhook: Webhook | null,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await announceTraffic({ ...ports, webhook: webhook !== null }, Date.now());
      if (webhook !== null) await deliverAll(ports, webhook, signal);
    } catch (error) {
      ports.log.warn({ reason: messageOf(error) }, 'traffic not published, trying again');
    }
    await delay(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function deliverAll(
  { database, log }: Pick<AnnouncePorts, 'database'> & { readonly log: Logger },
  webhook: Webhook,
  signal: AbortSignal,
): Promise<void> {
  for (let turn = 0; turn < MAX_DELIVERIES; turn++) {
    if (signal.aborted) return;
    const delivery = await deliverTraffic(database, webhook, () => Date.now());
    if (delivery.kind === 'nothing') return;
    if (delivery.kind === 'failed') log.warn({ ...delivery }, 'webhook not delivered, trying again later');
  }
}
