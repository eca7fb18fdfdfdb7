import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import type { Queryable } from '#lib/postgres/database.ts';

export interface EventRecord {
  readonly seq: number;
  readonly type: string;
  readonly data: unknown;
  readonly at_ms: number;
  readonly state: string;
}

/** Facts after `afterSeq`, in seq order. */
export async function listEvents(
  database: Queryable,
  workflowId: string,
  page: { readonly afterSeq: number; readonly limit: number },
): Promise<EventRecord[]> {
  const { rows } = await database.query<EventRecord>(
    {
      name: 'gateway_events',
      text: 'select seq, type, data, at_ms, state from events where workflow_id = $1 and seq > $2 order by seq limit $3',
    },
    [workflowId, page.afterSeq, page.limit],
  );
  return rows;
}

/** For each stream: the facts after its position, and whether the log is complete (the job has ended). */
export async function tailEvents(
  database: Queryable,
  streams: readonly { readonly workflowId: string; readonly afterSeq: number }[],
  limitEach: number,
): Promise<{ events: EventRecord[]; complete: boolean }[]> {
  const { rows } = await database.query<{ n: number; complete: boolean; events: EventRecord[] | null }>(
    {
      name: 'gateway_tail',
      // The status is read in the same snapshot as the events: both change in one transaction, so nothing comes after "complete".
      text: `
        select s.n::int as n, coalesce(j.status = any ($4), true) as complete, e.events
        from unnest($1::text[], $2::int[]) with ordinality as s (workflow_id, after_seq, n)
        left join jobs j on j.workflow_id = s.workflow_id
        left join lateral (
          select json_agg(json_build_object('seq', r.seq, 'type', r.type, 'data', r.data, 'at_ms', r.at_ms, 'state', r.state) order by r.seq)
                 as events
          from (select * from events where events.workflow_id = s.workflow_id and events.seq > s.after_seq order by seq limit $3) r
        ) e on true
        order by s.n`,
    },
    [streams.map((s) => s.workflowId), streams.map((s) => s.afterSeq), limitEach, FINAL_STATUSES],
  );
  return rows.map((row) => {
    const events = row.events ?? [];
    return { events, complete: row.complete && events.length < limitEach };
  });
}
