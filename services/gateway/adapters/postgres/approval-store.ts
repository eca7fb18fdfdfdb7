import type { ApprovalSubject } from '#lib/contracts/release.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ApprovalRow, ApprovalStore } from '../../app/approvals.ts';
import type { ApprovalStatus, CastVote } from '../../domain/vote-rules.ts';

interface ApprovalRecord {
  id: string;
  project: string;
  job_id: string;
  workflow_id: string;
  approval: string;
  status: ApprovalStatus;
  subject: ApprovalSubject;
  digest: string;
  submitted_by: string | null;
  required: number;
  approvers: string[] | null;
  votes: CastVote[];
  requested_at_ms: number;
  expires_at_ms: number;
  decided_at_ms: number | null;
  reminders: number;
}

const COLUMNS = `id, project, job_id, workflow_id, approval, status, subject, digest, submitted_by, required, approvers, votes,
  requested_at_ms, expires_at_ms, decided_at_ms, reminders`;

const approvalRow = (row: ApprovalRecord): ApprovalRow => ({
  id: row.id,
  project: row.project,
  jobId: row.job_id,
  workflowId: row.workflow_id,
  approval: row.approval,
  status: row.status,
  subject: row.subject,
  digest: row.digest,
  submittedBy: row.submitted_by,
  required: row.required,
  approvers: row.approvers,
  votes: row.votes,
  requestedAtMs: row.requested_at_ms,
  expiresAtMs: row.expires_at_ms,
  decidedAtMs: row.decided_at_ms,
  reminders: row.reminders,
});

/** Where a page ended: when the ticket was opened (epoch ms), and its id. */
export type ApprovalPosition = readonly [requestedAtMs: number, id: string];

/** Reads the tickets; the orchestrator writes them. */
export class PostgresApprovalStore implements ApprovalStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async find(id: string, project: string | null): Promise<ApprovalRow | null> {
    const { rows } = await this.#database.query<ApprovalRecord>(
      `select ${COLUMNS} from approvals where id = $1 and ($2::text is null or project = $2)`,
      [id, project],
    );
    return rows[0] === undefined ? null : approvalRow(rows[0]);
  }

  /** Newest first. */
  async list(
    filter: { readonly project: string | null; readonly statuses: readonly string[]; readonly jobId: string | null },
    page: { readonly limit: number; readonly after: ApprovalPosition | null },
  ): Promise<{ items: ApprovalRow[]; next: ApprovalPosition | null }> {
    const [atMs, id] = page.after ?? [null, null];
    const { rows } = await this.#database.query<ApprovalRecord>(
      `select ${COLUMNS} from approvals
       where ($1::text is null or project = $1) and (cardinality($2::text[]) = 0 or status = any ($2))
         and ($3::text is null or job_id = $3)
         and ($4::bigint is null or (requested_at_ms, id) < ($4::bigint, $5::text))
       order by requested_at_ms desc, id desc limit $6`,
      [filter.project, filter.statuses, filter.jobId, atMs, id, page.limit + 1],
    );
    const items = rows.slice(0, page.limit).map(approvalRow);
    const last = items.at(-1);
    return { items, next: rows.length > page.limit && last !== undefined ? [last.requestedAtMs, last.id] : null };
  }
}
