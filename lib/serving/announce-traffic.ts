import type { OutgoingMessage, TransactionalBus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { TrafficSplitChanged } from '#lib/contracts/generated/messages.ts';
import type { Database, NamedStatement, Queryable } from '#lib/postgres/database.ts';
import { readTraffic } from './postgres-traffic.ts';

/** Any 64-bit constant of ours: one process announces at a time, so that revisions rise in the order of what they tell. */
const ANNOUNCE_LOCK = 7_461_746_213;

/** Changes of one transaction at most. */
const MAX_CHANGES = 1_000;

const TURN: NamedStatement = { name: 'traffic-turn', text: 'select pg_try_advisory_xact_lock($1) as mine' };

const TAKE: NamedStatement = {
  name: 'traffic-take',
  text: `with taken as (
           delete from traffic_changes where id in (select id from traffic_changes order by id limit ${MAX_CHANGES}) returning project, model, at_ms)
         select project, model, max(at_ms) as "changedAtMs" from taken group by project, model order by project, model`,
};

const REVISION: NamedStatement = { name: 'traffic-revision', text: `select nextval('traffic_revisions') as revision` };

const OWE: NamedStatement = {
  name: 'traffic-owe',
  text: `insert into traffic_deliveries (project, model, revision, body, next_attempt_at_ms) values ($1, $2, $3, $4, $5)
         on conflict (project, model) do update set
           revision = excluded.revision, body = excluded.body, attempts = 0, next_attempt_at_ms = excluded.next_attempt_at_ms`,
};

export interface AnnouncePorts {
  readonly database: Database;
  readonly bus: Pick<TransactionalBus, 'publishIn'>;
  readonly codec: Codec;
  /** Owe every change to the webhook, too (`deliver-traffic.ts`). */
  readonly webhook: boolean;
}

/**
 * Publishes the present traffic of every model that changed since it was announced, as `TrafficSplitChanged`, and owes it to the webhook: all in one
 * transaction. Changes that follow each other quickly are one message. Returns how many models were announced; 0 also when another process does it.
 */
export async function announceTraffic(ports: AnnouncePorts, nowMs: number): Promise<number> {
  return ports.database.transaction(async (tx) => {
    const { rows } = await tx.query<{ mine: boolean }>(TURN, [ANNOUNCE_LOCK]);
    if (rows[0]?.mine !== true) return 0;
    type Change = { project: string; model: string; changedAtMs: number };
    const changes = (await tx.query<Change>(TAKE)).rows;
    const messages: OutgoingMessage[] = [];
    for (const { project, model, changedAtMs } of changes) {
      const state = await stateOf(tx, project, model, changedAtMs);
      messages.push(messageOf(ports.codec, state, nowMs));
      if (ports.webhook) await tx.query(OWE, [project, model, state.revision, JSON.stringify(state), nowMs]);
    }
    if (messages.length > 0) await ports.bus.publishIn(tx, messages, { inOrder: true });
    return changes.length;
  });
}

/** Read after the change was taken: whoever changes it again meanwhile leaves another change to announce. */
async function stateOf(
  tx: Queryable,
  project: string,
  model: string,
  changedAtMs: number,
): Promise<TrafficSplitChanged> {
  const { prodVersion, split } = await readTraffic(tx, project, model);
  const [next] = (await tx.query<{ revision: number }>(REVISION)).rows;
  return {
    project,
    model,
    revision: next?.revision ?? 0,
    prodVersion,
    canaryVersion: split?.canaryVersion ?? null,
    baselineVersion: split?.baselineVersion ?? null,
    weightPercent: split?.weightPercent ?? null,
    splitJobId: split?.jobId ?? null,
    changedAtMs,
  };
}

function messageOf(codec: Codec, state: TrafficSplitChanged, timeMs: number): OutgoingMessage {
  const { project, model, revision } = state;
  const id = `traffic:${project}/${model}:${revision}`;
  return encodeMessage(codec, {
    topic: 'models.events',
    key: `${project}/${model}`,
    type: 'TrafficSplitChanged',
    payload: state,
    envelope: { id, source: '/trainyard/cpu-worker', timeMs },
  });
}
