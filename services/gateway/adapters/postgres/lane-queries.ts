import type { Queryable } from '#lib/postgres/database.ts';

export interface LaneRecord {
  lane: string;
  workers: number;
  slots: number;
  running: number;
  queued: number;
  placed: number;
}

/** Slots from the workers' last heartbeats, activities from the ledger. */
export async function listLanes(database: Queryable): Promise<LaneRecord[]> {
  const { rows } = await database.query<LaneRecord>(
    `select l.lane, coalesce(w.workers, 0)::int as workers, coalesce(w.slots, 0)::int as slots, coalesce(a.running, 0)::int as running,
            coalesce(a.queued, 0)::int as queued, coalesce(a.placed, 0)::int as placed
     from (values ('cpu'), ('gpu')) l (lane)
     left join (select lane, count(*) as workers, sum(slots) as slots from workers group by lane) w on w.lane = l.lane
     left join (
       select a.lane, count(*) filter (where a.state = 'running') as running, count(*) filter (where a.state = 'queued') as queued,
              count(*) filter (where a.state = 'placed') as placed
       from activities a join workflows f on f.workflow_id = a.workflow_id and f.status = 'open'
       where a.state in ('running', 'queued', 'placed') group by a.lane
     ) a on a.lane = l.lane
     order by l.lane`,
  );
  return rows;
}

export interface WorkerRecord {
  worker_id: string;
  incarnation: string;
  lane: string;
  slots: number;
  running: number;
  device: unknown;
  started_at_ms: number;
  last_seen_ms: number;
}

export async function listWorkers(database: Queryable): Promise<WorkerRecord[]> {
  const { rows } = await database.query<WorkerRecord>(
    `select worker_id, incarnation, lane, slots, running, device, started_at_ms, last_seen_ms from workers
     order by lane, worker_id limit 1000`,
  );
  return rows;
}
