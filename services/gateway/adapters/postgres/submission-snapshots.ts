import { int4Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { DatasetVersion, SnapshotQuery, SubmissionSnapshot } from '../../app/ports.ts';
import { DELETED_LABEL } from './job-rows.ts';

/**
 * What submissions are decided on, in the order of the questions; null where there is no such project. One statement, a row for each dataset
 * that a question names: most name one.
 */
export async function readSnapshots(
  database: Database,
  queries: readonly SnapshotQuery[],
): Promise<(SubmissionSnapshot | null)[]> {
  if (queries.length === 0) return [];
  const asked = queries.flatMap((query) => query.datasets.map((dataset) => ({ query, dataset })));
  const { rows } = await database.query<SnapshotRecord>(SNAPSHOTS, [
    textArray(asked.map(({ query }) => query.project)),
    textArray(asked.map(({ query }) => query.idempotencyKey)),
    textArray(asked.map(({ dataset }) => dataset.name)),
    int4Array(asked.map(({ dataset }) => dataset.version)),
    textArray(asked.map(({ query }) => query.retrainOf)),
  ]);
  const byNumber = new Map(rows.map((row) => [row.n, row]));
  let n = 0;
  return queries.map((query) => {
    const found = query.datasets.map(() => byNumber.get(++n));
    const [first] = found;
    return first === undefined ? null : snapshotOf(first, query, found);
  });
}

interface SnapshotRecord {
  /** Which dataset of which question, from 1. */
  n: number;
  gpu_seconds_budget: number;
  gpu_seconds_reserved: number;
  gpu_seconds_used: number;
  job_id: string | null;
  request_digest: string;
  deleted: boolean;
  last_retrain_at: Date | null;
  dataset_known: boolean;
  version: number | null;
  format: DatasetVersion['format'];
  object_key: string;
  sha256: string;
  bytes: number;
  created_at: Date;
}

const SNAPSHOTS = {
  name: 'gateway_snapshots',
  // By jobs_by_key and nothing else (0008): with `|| ''` no plan can take the index of the project, and read all of its jobs.
  // A retrain that did nothing (skipped), or came to no verdict, keeps no other one waiting.
  // The last retrain is looked for only where one is asked for: the condition on q alone is decided before any job is read.
  text: `
    select q.n, p.gpu_seconds_budget, p.gpu_seconds_reserved, p.gpu_seconds_used,
           j.id as job_id, j.request_digest, j.labels ? '${DELETED_LABEL}' as deleted, r.last_retrain_at,
           exists (select from datasets k where k.project = p.id and k.name = q.dataset) as dataset_known,
           d.version, d.format, d.object_key, d.sha256, d.bytes, d.created_at
    from unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[]) with ordinality
           as q(project, key, dataset, version, retrain_of, n)
    join projects p on p.id = q.project
    left join lateral (
      select * from jobs k where k.idempotency_key = q.key and k.project || '' = q.project
    ) j on true
    left join lateral (
      select * from datasets s where s.project = p.id and s.name = q.dataset and (q.version is null or s.version = q.version)
      order by s.version desc limit 1
    ) d on true
    left join lateral (
      select max(k.submitted_at) as last_retrain_at from jobs k
      where q.retrain_of is not null and k.project = q.project and k.type = 'retrain' and k.status not in ('SKIPPED', 'FAILED', 'CANCELLED', 'TIMED_OUT')
        and k.spec #>> '{model,name}' = q.retrain_of
    ) r on true`,
};

function snapshotOf(
  row: SnapshotRecord,
  { project, datasets }: SnapshotQuery,
  found: readonly (SnapshotRecord | undefined)[],
): SubmissionSnapshot {
  const { job_id: id, request_digest: requestDigest, deleted } = row;
  return {
    budget: {
      gpuSecondsBudget: row.gpu_seconds_budget,
      gpuSecondsReserved: row.gpu_seconds_reserved,
      gpuSecondsUsed: row.gpu_seconds_used,
    },
    existing: id === null ? null : { id, requestDigest, deleted },
    datasets: datasets.map(({ name }, at) => datasetOf(found[at], project, name)),
    lastRetrainAtMs: row.last_retrain_at?.getTime() ?? null,
  };
}

function datasetOf(
  row: SnapshotRecord | undefined,
  project: string,
  name: string,
): SubmissionSnapshot['datasets'][number] {
  const version = row?.version ?? null;
  if (row === undefined || version === null) return { version: null, known: row?.dataset_known ?? false };
  return {
    known: true,
    version: {
      project,
      name,
      version,
      format: row.format,
      objectKey: row.object_key,
      sha256: row.sha256,
      bytes: row.bytes,
      createdAt: row.created_at,
    },
  };
}
