import type { NamedStatement, Queryable } from '#lib/postgres/database.ts';

/** A run of ours. */
export interface RunPlace {
  readonly namespace: string;
  readonly project: string;
  readonly runId: string;
}

const FIND: NamedStatement = {
  name: 'registry-mlflow-find-run',
  text: `select mlflow_run_id as "mlflowRunId" from registry_mlflow_runs where namespace = $1 and project = $2 and run_id = $3`,
};

const ADD: NamedStatement = {
  name: 'registry-mlflow-add-run',
  text: `insert into registry_mlflow_runs (namespace, project, run_id, mlflow_run_id) values ($1, $2, $3, $4)
         on conflict (namespace, project, run_id) do update set mlflow_run_id = excluded.mlflow_run_id`,
};

/** MLflow's id of a run; null while it does not exist there. */
export async function linkOfRun(db: Queryable, { namespace, project, runId }: RunPlace): Promise<string | null> {
  const { rows } = await db.query<{ mlflowRunId: string }>(FIND, [namespace, project, runId]);
  return rows[0]?.mlflowRunId ?? null;
}

export async function addRunLink(tx: Queryable, run: RunPlace, mlflowRunId: string): Promise<void> {
  await tx.query(ADD, [run.namespace, run.project, run.runId, mlflowRunId]);
}
