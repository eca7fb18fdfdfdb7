import type { ApprovalRow, Commit } from '../../../services/orchestrator/app/commit.ts';
import { SUBMITTER } from '../job-kinds.ts';
import type { LedgerEntry } from '../release-tables.ts';
import { isFinalJob, type SimDatabase } from '../sim-database.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

interface Release {
  readonly promote: boolean;
  readonly approval?: { readonly required: number };
}

/** What goes to production, and who agreed. */
export class ReleaseInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  /** How each ticket was decided. */
  readonly #decided = new Map<string, string>();
  /** The version in production by the lines so far, by project and model. */
  readonly #inProd = new Map<string, number>();
  readonly #lines = new Set<string>();

  constructor(violations: Violations, database: SimDatabase) {
    this.#violations = violations;
    this.#database = database;
  }

  committed({ approvals }: Commit): void {
    for (const row of approvals) this.#ticket(row);
  }

  #ticket({ id, workflowId, ticket }: ApprovalRow): void {
    const before = this.#decided.get(id);
    this.#violations.check(
      RULES.decidedOnce,
      before === undefined || before === ticket.status,
      () => `${workflowId} ${ticket.approval}: was ${before}, is ${ticket.status}`,
    );
    if (ticket.status !== 'open') this.#decided.set(id, ticket.status);
    if (ticket.status !== 'approved') return;
    const agreed = this.#agreed(workflowId, ticket.approval);
    this.#violations.check(
      RULES.votes,
      agreed.size >= ticket.required,
      () => `${workflowId} ${ticket.approval}: approved by ${[...agreed].join(', ')} of ${ticket.required}`,
    );
  }

  /** Who agreed by the log; the submitter never counts. */
  #agreed(workflowId: string, approval: string): Set<string> {
    const votes = this.#facts(workflowId, 'ApprovalVoted') as { approval: string; by: string; decision: string }[];
    return new Set(
      votes
        .filter((vote) => vote.approval === approval && vote.decision === 'approve' && vote.by !== SUBMITTER)
        .map(({ by }) => by),
    );
  }

  #facts(workflowId: string, type: string): unknown[] {
    return this.#database
      .eventsOf(workflowId)
      .filter((event) => event.type === type)
      .map(({ dataJson }) => JSON.parse(dataJson) as unknown);
  }

  promoted(entry: LedgerEntry): void {
    const { project, model, version, stage, formerVersion, jobId } = entry;
    const key = `${project}/${model}`;
    const inProd = this.#inProd.get(key);
    const name = `${key}/${version} to ${stage}`;
    this.#violations.check(
      RULES.oneProd,
      stage !== 'prod' || inProd === undefined || inProd === version || inProd === formerVersion,
      () => `${name} while ${inProd} is in prod`,
    );
    if (stage === 'prod') this.#inProd.set(key, version);
    else if (inProd === version) this.#inProd.delete(key);
    if (jobId === null) return;
    const line = `${jobId} ${name}`;
    this.#violations.check(RULES.promotedOnce, !this.#lines.has(line), () => `${name} twice`);
    this.#lines.add(line);
    if (stage === 'prod') this.#mayGoToProd(jobId, name);
  }

  #mayGoToProd(jobId: string, name: string): void {
    const job = this.#database.jobs.get(jobId);
    const workflowId = job?.workflowId ?? '';
    const { release } = (job?.spec ?? {}) as { release?: Release };
    const required = release?.approval?.required ?? 0;
    const agreed = this.#agreed(workflowId, 'release');
    this.#violations.check(
      RULES.votes,
      release?.promote === true && agreed.size >= required,
      () => `${workflowId}: ${name} with ${agreed.size} of ${required} votes`,
    );
    const [verdict] = (this.#facts(workflowId, 'SignalReceived') as { signal: string; data: { outcome: string } }[])
      .filter(({ signal }) => signal === 'canary.verdict')
      .map(({ data }) => data.outcome);
    const overruled = this.#agreed(workflowId, 'canary').size > 0;
    this.#violations.check(
      RULES.canary,
      verdict !== 'fail' && (verdict !== 'inconclusive' || overruled),
      () => `${workflowId}: ${name} although its canary ended ${verdict}`,
    );
  }

  atEnd(): void {
    for (const { jobId, workflowId, endedAtMs } of this.#database.releases.splits) {
      const job = this.#database.jobs.get(jobId);
      this.#violations.check(
        RULES.splitEnds,
        endedAtMs !== null || job === undefined || !isFinalJob(job),
        () => `${workflowId} has ended as ${job?.status}; its split is open`,
      );
    }
  }
}
