import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '#lib/kernel/errors.ts';
import type { ModelRegistry } from '#lib/model-registry/port.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import { syncPromotions } from '#lib/promotion/sync.ts';
import type { Logger } from '#lib/service/logger.ts';

/** How soon the registry shows a promotion, and how often it is asked again while it is down. */
const EVERY_MS = 2_000;
const MAX_WAIT_MS = 30_000;

/** Keeps the model registry in line with the promotion ledger until `signal`. Never rejects: an outage is waited out, longer each time. */
export async function keepRegistryInLine(
  ports: { readonly ledger: PromotionLedger; readonly registry: ModelRegistry; readonly log: Logger },
  signal: AbortSignal,
  everyMs = EVERY_MS,
): Promise<void> {
  const { ledger, registry, log } = ports;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const { refused, waiting } = await syncPromotions(ledger, registry, () => Date.now(), signal);
      for (const { project, model, version, stage } of refused)
        log.error(
          { project, model, version, stage },
          'the registry refused a promotion for good: it shows another stage',
        );
      failures = waiting.size === 0 ? 0 : failures + 1;
      if (failures === 1) log.warn({ waiting: [...waiting] }, 'promotions wait for the model registry');
    } catch (error) {
      failures++;
      log.warn({ reason: messageOf(error) }, 'the promotion ledger cannot be read, trying again');
    }
    await delay(Math.min(MAX_WAIT_MS, everyMs * 2 ** failures), undefined, { signal }).catch(() => undefined);
  }
}
