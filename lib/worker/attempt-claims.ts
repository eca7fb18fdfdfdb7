import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import { int4Array, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Queryable } from '#lib/postgres/database.ts';

/** Who runs an attempt, decided once for each (workflow, activity, epoch). */
export interface AttemptClaims {
  /**
   * Of these commands, the ones that are now this worker's to run: nobody had claimed them. A repetition is nobody's again, so an attempt
   * whose worker dies between claim and start is ended by its lease. Idempotent in the sense that nothing is ever run twice.
   */
  claim(
    commands: readonly ExecuteActivity[],
    by: { readonly workerId: string; readonly incarnation: string },
  ): Promise<readonly ExecuteActivity[]>;
}

const CLAIM = {
  name: 'claim-attempts',
  text: `insert into attempt_claims (workflow_id, activity_id, epoch, worker_id, incarnation)
    select distinct on (workflow_id, activity_id, epoch) workflow_id, activity_id, epoch, $4, $5
    from unnest($1::text[], $2::text[], $3::int[]) as c(workflow_id, activity_id, epoch)
    order by workflow_id, activity_id, epoch
    on conflict do nothing returning workflow_id, activity_id, epoch`,
};

/** In the table of migration 0007: a relay that died after it published, or a member that lost its partition, makes a command come twice. */
export class PostgresAttemptClaims implements AttemptClaims {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async claim(
    commands: readonly ExecuteActivity[],
    { workerId, incarnation }: { readonly workerId: string; readonly incarnation: string },
  ): Promise<readonly ExecuteActivity[]> {
    const { rows } = await this.#database.query<{ workflow_id: string; activity_id: string; epoch: number }>(CLAIM, [
      textArray(commands.map((c) => c.workflowId)),
      textArray(commands.map((c) => c.activityId)),
      int4Array(commands.map((c) => c.epoch)),
      workerId,
      incarnation,
    ]);
    const won = new Set(rows.map((row) => keyOf(row.workflow_id, row.activity_id, row.epoch)));
    // `delete` answers whether it was there: of two equal commands in one batch, one is run.
    return commands.filter((c) => won.delete(keyOf(c.workflowId, c.activityId, c.epoch)));
  }
}

const keyOf = (workflowId: string, activityId: string, epoch: number): string =>
  `${workflowId}\u0000${activityId}\u0000${epoch}`;
