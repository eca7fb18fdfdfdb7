import type { Database } from '#lib/postgres/database.ts';

/** Workflows whose id begins so and that have ended well. */
export async function workflowsDone(database: Database, prefix: string): Promise<number> {
  const { rows } = await database.query<{ n: number }>(
    `select count(*)::int as n from workflows where workflow_id like $1 and status = 'done'`,
    [`${prefix}%`],
  );
  return rows[0]?.n ?? 0;
}

/** What two deciders, or a command that was run twice, would leave in the logs of these workflows. */
export async function decidedTwice(database: Database, prefix: string): Promise<unknown[]> {
  const { rows } = await database.query(
    `select workflow_id, type, data->>'activityId' as activity, count(*)::int as n from events
     where workflow_id like $1 and type in ('WorkflowStarted', 'ActivityCompleted') group by 1, 2, 3 having count(*) > 1`,
    [`${prefix}%`],
  );
  return rows;
}
