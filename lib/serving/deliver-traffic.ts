import { createHmac } from 'node:crypto';
import { messageOf } from '#lib/kernel/errors.ts';
import type { Database, NamedStatement } from '#lib/postgres/database.ts';

/** Longest wait for an answer; what it holds is a claim of its own, longer than that. */
const TIMEOUT_MS = 10_000;
const CLAIM_MS = 30_000;

/** Waits of 1, 2, 4 ... seconds, five minutes at most. */
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 300_000;

const CLAIM: NamedStatement = {
  name: 'traffic-claim',
  text: `update traffic_deliveries d set attempts = d.attempts + 1, next_attempt_at_ms = $1::bigint + ${CLAIM_MS}
         from (select project, model from traffic_deliveries where delivered_revision < revision and next_attempt_at_ms <= $1
               order by next_attempt_at_ms limit 1 for update skip locked) due
         where d.project = due.project and d.model = due.model
         returning d.project, d.model, d.revision, d.body, d.attempts`,
};

/** A newer revision that came meanwhile is due at once. */
const DELIVERED: NamedStatement = {
  name: 'traffic-delivered',
  text: `update traffic_deliveries set delivered_revision = greatest(delivered_revision, $3), attempts = 0, next_attempt_at_ms = $4
         where project = $1 and model = $2`,
};

const FAILED: NamedStatement = {
  name: 'traffic-failed',
  text: 'update traffic_deliveries set next_attempt_at_ms = $4 where project = $1 and model = $2 and revision = $3',
};

export interface Webhook {
  readonly url: string;
  readonly secret: string;
}

export type Delivery =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'delivered'; readonly key: string; readonly revision: number }
  | { readonly kind: 'failed'; readonly key: string; readonly revision: number; readonly reason: string };

interface Due {
  readonly project: string;
  readonly model: string;
  readonly revision: number;
  readonly body: string;
  readonly attempts: number;
}

/**
 * Sends one model's newest traffic that the webhook has not taken yet. At least once: any answer but 2xx, and none, is tried again with longer waits,
 * for ever; a newer revision takes the place of an older one. Any number of processes may deliver at once.
 *
 * The receiver checks `x-trainyard-signature` (`t=<ms>,v1=<hex>`: HMAC-SHA-256 of `<ms>.<body>` with the shared secret) and ignores a revision that is
 * not above the one it has.
 */
export async function deliverTraffic(database: Database, webhook: Webhook, now: () => number): Promise<Delivery> {
  const [due] = (await database.query<Due>(CLAIM, [now()])).rows;
  if (due === undefined) return { kind: 'nothing' };
  const { project, model, revision, attempts } = due;
  const key = `${project}/${model}`;
  const reason = await post(webhook, due, now());
  if (reason === null) {
    await database.query(DELIVERED, [project, model, revision, now()]);
    return { kind: 'delivered', key, revision };
  }
  const waitMs = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempts - 1));
  await database.query(FAILED, [project, model, revision, now() + waitMs]);
  return { kind: 'failed', key, revision, reason };
}

/** Of the header `x-trainyard-signature`. */
export const signatureOf = (secret: string, atMs: number, body: string): string =>
  `t=${atMs},v1=${createHmac('sha256', secret).update(`${atMs}.${body}`).digest('hex')}`;

/** Null when it was taken. */
async function post(
  { url, secret }: Webhook,
  { project, model, revision, body }: Due,
  atMs: number,
): Promise<string | null> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-trainyard-event': 'TrafficSplitChanged',
        'x-trainyard-delivery': `${project}/${model}/${revision}`,
        'x-trainyard-signature': signatureOf(secret, atMs, body),
      },
      body,
      // To where it was configured, and nowhere else.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.ok ? null : `the webhook answered ${response.status}`;
  } catch (error) {
    return messageOf(error);
  }
}
