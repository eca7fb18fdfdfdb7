import type { Database, NamedStatement, Queryable } from '#lib/postgres/database.ts';
import type { TrafficSplit, TrafficStore } from './port.ts';
import type { OpenSplit, OpenTraffic } from './split.ts';

const SHARE = `job_id as "jobId", canary_version as "canaryVersion", baseline_version as "baselineVersion", weight_percent::float8 as "weightPercent"`;

/** Always one row. */
const TRAFFIC: NamedStatement = {
  name: 'serving-traffic',
  text: `select (select version from model_stages where project = $1 and model = $2 and stage = 'prod') as "prodVersion",
           (select to_jsonb(s) from (select ${SHARE}, unit_secret as "unitSecret" from traffic_splits where project = $1 and model = $2 and ended_at_ms is null) s) as split`,
};

const SPLITS: NamedStatement = {
  name: 'serving-splits',
  text: `select s.project, s.model, ${SHARE}, workflow_id as "workflowId", started_at_ms as "startedAtMs", ended_at_ms as "endedAtMs", outcome,
           w.state as watch
         from traffic_splits s left join canary_watches w on w.split_id = s.id
         where s.project = $1 and s.model = $2 order by s.id desc limit $3`,
};

/** The tables of migrations 0012 and 0018. */
export class PostgresTraffic implements TrafficStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async trafficOf(project: string, model: string): Promise<OpenTraffic> {
    return readTraffic(this.#database, project, model);
  }

  async splitsOf(project: string, model: string, limit: number): Promise<TrafficSplit[]> {
    return (await this.#database.query<TrafficSplit>(SPLITS, [project, model, limit])).rows;
  }
}

/** The same as part of somebody's transaction. */
export async function readTraffic(db: Queryable, project: string, model: string): Promise<OpenTraffic> {
  type Row = { prodVersion: number | null; split: OpenSplit | null };
  const { rows } = await db.query<Row>(TRAFFIC, [project, model]);
  return rows[0] ?? { prodVersion: null, split: null };
}
