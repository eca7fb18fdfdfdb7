import { int4Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { DatasetVersion, JobStore, SubmissionSnapshot } from '../../app/ports.ts';
import { DELETED_LABEL } from './job-rows.ts';

type Query = Parameters<JobStore['snapshot']>[0];

/** What submissions are decided on, in the order of the questions; null where there is no such project. One statement. */
export async function readSnapshots(
  database: Database,
  queries: readonly Query[],
): Promise<(SubmissionSnapshot | null)[]> {
  if (queries.length === 0) return [];
  const { rows } = await database.query<SnapshotRecord>(SNAPSHOTS, [
    textArray(queries.map((query) => query.project)),
    textArray(queries.map((query) => query.idempotencyKey)),
    textArray(queries.map((query) => query.dataset)),
    int4Array(queries.map((query) => query.version)),
  ]);
  const byNumber = new Map(rows.map((row) => [row.n, row]));
  return queries.map((query, at) => {
    const row = byNumber.get(at + 1);
    return row === undefined ? null : snapshotOf(row, query.project, query.dataset);
  });
}

interface SnapshotRecord {
  /** Which question, from 1. */
  n: number;
  gpu_seconds_budget: number;
  gpu_seconds_reserved: number;
  gpu_seconds_used: number;
  job_id: string | null;
  request_digest: string;
  deleted: boolean;
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
  text: `
    select q.n, p.gpu_seconds_budget, p.gpu_seconds_reserved, p.gpu_seconds_used,
           j.id as job_id, j.request_digest, j.labels ? '${DELETED_LABEL}' as deleted,
           exists (select from datasets k where k.project = p.id and k.name = q.dataset) as dataset_known,
           d.version, d.format, d.object_key, d.sha256, d.bytes, d.created_at
    from unnest($1::text[], $2::text[], $3::text[], $4::int[]) with ordinality as q(project, key, dataset, version, n)
    join projects p on p.id = q.project
    left join lateral (
      select * from jobs k where k.idempotency_key = q.key and k.project || '' = q.project
    ) j on true
    left join lateral (
      select * from datasets s where s.project = p.id and s.name = q.dataset and (q.version is null or s.version = q.version)
      order by s.version desc limit 1
    ) d on true`,
};

function snapshotOf(row: SnapshotRecord, project: string, name: string): SubmissionSnapshot {
  const { job_id: id, request_digest: requestDigest, deleted, version } = row;
  return {
    budget: {
      gpuSecondsBudget: row.gpu_seconds_budget,
      gpuSecondsReserved: row.gpu_seconds_reserved,
      gpuSecondsUsed: row.gpu_seconds_used,
    },
    existing: id === null ? null : { id, requestDigest, deleted },
    datasetKnown: row.dataset_known,
    dataset:
      version === null
        ? null
        : {
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
