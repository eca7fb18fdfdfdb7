import type { SignalOutcome, SignalSource } from '#lib/contracts/retrain-policy.ts';
import type { Queryable } from '#lib/postgres/database.ts';
import type { ReferencePerformance } from '#lib/statistics/model-reference.ts';
import type { ReferenceProfile } from '#lib/statistics/reference-profile.ts';

export interface SignalRecord {
  readonly seq: number;
  readonly signal_id: string;
  readonly model: string;
  readonly version: number | null;
  readonly source: SignalSource;
  readonly outcome: SignalOutcome;
  readonly reason: string | null;
  readonly causes: string[];
  readonly evidence: Record<string, unknown>;
  readonly window_start_ms: number | null;
  readonly window_end_ms: number | null;
  readonly number: number | null;
  readonly at_ms: number;
  readonly requested_by: string | null;
  readonly job_id: string | null;
  readonly refusal: unknown;
  readonly ended_at_ms: number | null;
}

const SIGNAL_COLUMNS =
  'seq, signal_id, model, version, source, outcome, reason, causes, evidence, window_start_ms, window_end_ms, number, at_ms, requested_by, job_id, refusal, ended_at_ms';

/** Newest first. */
export async function listSignals(
  database: Queryable,
  project: string,
  filter: { readonly model: string | null; readonly outcome: SignalOutcome | null },
  page: { readonly limit: number; readonly before: number | null },
): Promise<SignalRecord[]> {
  const { rows } = await database.query<SignalRecord>(
    `select ${SIGNAL_COLUMNS} from drift_signals
     where project = $1 and ($2::text is null or model = $2) and ($3::text is null or outcome = $3) and ($4::bigint is null or seq < $4)
     order by seq desc limit $5`,
    [project, filter.model, filter.outcome, page.before, page.limit],
  );
  return rows;
}

export async function findSignal(database: Queryable, project: string, id: string): Promise<SignalRecord | null> {
  const { rows } = await database.query<SignalRecord>(
    `select ${SIGNAL_COLUMNS} from drift_signals where project = $1 and signal_id = $2`,
    [project, id],
  );
  return rows[0] ?? null;
}

/** The members of a watch's state that are shown; written by the drift monitor. */
export interface ShownState {
  readonly windows: { readonly watermarkMs: number | null; readonly open: readonly number[] };
  readonly streak: { readonly streak: number };
  readonly counters: Readonly<Record<string, number>>;
  readonly performance: { readonly production: { readonly count: number; readonly sum: number } };
}

export interface WatchRecord {
  readonly model: string;
  readonly version: number;
  readonly has_reference: boolean;
  readonly in_flight: boolean;
  readonly state: ShownState | null;
  readonly updated_at_ms: number | null;
  readonly windows: { start_ms: number; end_ms: number; outcome: string; reason: string | null; evidence: unknown }[];
}

/** Watched versions by model and version, those with a reference and nothing observed yet among them, each with its last windows, newest first. */
export async function listWatches(
  database: Queryable,
  project: string,
  model: string | null,
  page: { readonly limit: number; readonly after: readonly [string, number] | null; readonly windows: number },
): Promise<WatchRecord[]> {
  const { rows } = await database.query<WatchRecord>(
    `select v.model, v.version, r.model is not null as has_reference, coalesce((d.state->'inFlight') <> 'null'::jsonb, false) as in_flight,
       w.state, w.updated_at_ms, coalesce(l.windows, '[]') as windows
     from (select model, version from drift_windows where project = $1
           union select model, version from model_references where project = $1) v
     left join drift_windows w on w.project = $1 and w.model = v.model and w.version = v.version
     left join model_references r on r.project = $1 and r.model = v.model and r.version = v.version
     left join drift_states d on d.project = $1 and d.model = v.model
     left join lateral (
       select jsonb_agg(jsonb_build_object('start_ms', s.window_start_ms, 'end_ms', s.window_end_ms, 'outcome', s.outcome,
                'reason', s.reason, 'evidence', s.evidence) order by s.window_end_ms desc) as windows
       from (select * from drift_signals where project = $1 and model = v.model and version = v.version and window_end_ms is not null
             order by window_end_ms desc limit $6) s) l on true
     where ($2::text is null or v.model = $2) and ($3::text is null or (v.model, v.version) > ($3, $4::int))
     order by v.model, v.version limit $5`,
    [project, model, page.after?.[0] ?? null, page.after?.[1] ?? null, page.limit, page.windows],
  );
  return rows;
}

export interface ReferenceRecord {
  readonly profile: ReferenceProfile;
  readonly performance: ReferencePerformance | null;
  readonly updated_at_ms: number;
}

export async function readReference(
  database: Queryable,
  project: string,
  model: string,
  version: number,
): Promise<ReferenceRecord | null> {
  const { rows } = await database.query<ReferenceRecord>(
    'select profile, performance, updated_at_ms from model_references where project = $1 and model = $2 and version = $3',
    [project, model, version],
  );
  return rows[0] ?? null;
}

/** True when it is new. The same reference again changes nothing: the open windows go on. */
export async function writeReference(
  database: Queryable,
  key: { readonly project: string; readonly model: string; readonly version: number },
  reference: { readonly profile: ReferenceProfile; readonly performance: ReferencePerformance | null },
  nowMs: number,
): Promise<boolean> {
  const { rows } = await database.query<{ created: boolean }>(
    `insert into model_references as r (project, model, version, profile, performance, updated_at_ms) values ($1, $2, $3, $4, $5, $6)
     on conflict (project, model, version) do update set profile = excluded.profile, performance = excluded.performance,
       updated_at_ms = excluded.updated_at_ms, revision = nextval('drift_revisions')
     where r.profile <> excluded.profile or r.performance is distinct from excluded.performance
     returning xmax = 0 as created`,
    [
      key.project,
      key.model,
      key.version,
      JSON.stringify(reference.profile),
      reference.performance === null ? null : JSON.stringify(reference.performance),
      nowMs,
    ],
  );
  return rows[0]?.created === true;
}
