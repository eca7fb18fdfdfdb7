import { JOB_STATUS } from '#lib/contracts/jobs.ts';
import type { JobRow } from '../../../services/gateway/app/ports.ts';
import type { Commit, EventRow } from '../../../services/orchestrator/app/commit.ts';
import type { Fact, Parent } from '../../../services/orchestrator/domain/facts.ts';
import { isFinalJob, type SimDatabase } from '../sim-database.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** What the log of one workflow says about its place in its family; kept here, independent of the code under test. */
interface Member {
  readonly parent: Parent | null;
  /** Reason of the pause it is in; undefined: it is in none. */
  paused: string | null | undefined;
  /** Somebody resumed or retried it: its parent did not ask for it. */
  revived: boolean;
}

/** Ends after which nothing of a search goes on. */
const TAKES_CHILDREN_ALONG: readonly string[] = [JOB_STATUS.cancelled, JOB_STATUS.timedOut, JOB_STATUS.failed];

/** Ends of a search whose answer lists its trials. */
const HAS_TRIALS: readonly string[] = [
  JOB_STATUS.completed,
  JOB_STATUS.evalFailed,
  JOB_STATUS.rejected,
  JOB_STATUS.rolledBack,
];

/** States in which a workflow waits for its children alone. */
const WAITS_FOR_CHILDREN: readonly string[] = ['searching', 'training'];

/** Parents and children. */
export class FamilyInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #members = new Map<string, Member>();

  constructor(violations: Violations, database: SimDatabase) {
    this.#violations = violations;
    this.#database = database;
  }

  committed(commit: Commit): void {
    const rested = new Map([...this.#members].map(([id, { paused }]) => [id, paused !== undefined]));
    for (const event of commit.events) this.#logged(event);
    for (const { headers } of commit.messages)
      if (headers['ce_type'] === 'ExecuteActivity') this.#sent(headers['ce_id'] ?? '', rested);
    for (const { jobId, parentJobId } of commit.children) {
      const parent = this.#database.jobs.get(parentJobId);
      this.#violations.check(
        RULES.childRow,
        parent !== undefined && this.#database.jobs.get(jobId)?.parentJobId === parentJobId,
        () => `${jobId} is started by ${parentJobId} without a row that says so`,
      );
      if (parent?.type === 'hpo') this.#checkSlots(parent);
    }
  }

  #logged(event: EventRow): void {
    const { workflowId, dataJson } = event;
    const fact = { type: event.type, data: JSON.parse(dataJson) } as Fact;
    const member = this.#members.get(workflowId);
    if (fact.type === 'WorkflowStarted') {
      const parent = fact.data.parent ?? null;
      this.#members.set(workflowId, { parent, paused: undefined, revived: false });
      if (parent === null) return;
      const job = this.#database.jobs.get(fact.data.jobId);
      this.#violations.check(
        RULES.childRow,
        this.#database.jobs.get(job?.parentJobId ?? '')?.workflowId === parent.workflowId,
        () => `${workflowId} starts, and its row does not name its parent`,
      );
      return;
    }
    if (member === undefined) return;
    if (fact.type === 'PauseRequested') member.paused = fact.data.reason;
    // A parent wakes what rested with it, and nothing that it pruned.
    if (fact.type === 'ResumeRequested' && this.#database.workflows.has(fact.data.requestedBy))
      this.#violations.check(
        RULES.restTogether,
        member.paused === 'ParentPaused',
        () => `${workflowId}, paused for ${member.paused}, is resumed by its parent`,
      );
    if (fact.type === 'ResumeRequested' || fact.type === 'RetryRequested') {
      // Resumed with its parent, it does what it was started for.
      member.revived ||= member.paused !== 'ParentPaused';
      member.paused = undefined;
    }
    if (fact.type === 'CancelRequested') this.#cancelled(workflowId, fact.data.requestedBy);
  }

  /** Nothing is sent for a workflow that rested before and rests still. */
  #sent(id: string, rested: ReadonlyMap<string, boolean>): void {
    const workflowId = id.split(':')[1] ?? '';
    const member = this.#members.get(workflowId);
    this.#violations.check(
      RULES.pausedRests,
      rested.get(workflowId) !== true || member?.paused === undefined,
      () => `${id} is sent while its workflow is paused (${member?.paused})`,
    );
  }

  /** By whoever is no workflow, or by a parent that takes its children along. */
  #cancelled(workflowId: string, by: string): void {
    const parent = this.#database.workflows.get(by);
    if (parent === undefined) return;
    const status = this.#statusOf(by);
    this.#violations.check(
      RULES.siblings,
      TAKES_CHILDREN_ALONG.includes(status) || this.#database.eventsOf(by).some(isRetry),
      () => `${workflowId} is cancelled by its parent, which is ${status}`,
    );
  }

  #statusOf(workflowId: string): string {
    const jobId = this.#database.workflows.get(workflowId)?.jobId ?? '';
    return this.#database.jobs.get(jobId)?.status ?? '';
  }

  #childrenOf(job: JobRow): JobRow[] {
    return [...this.#database.jobs.values()].filter(({ parentJobId }) => parentJobId === job.id);
  }

  /** A trial that rests gave its slot back; what somebody revived was not the search's to start. */
  #checkSlots(job: JobRow): void {
    const { maxConcurrent } = job.spec as { maxConcurrent: number };
    const busy = this.#childrenOf(job).filter((child) => {
      const member = this.#members.get(child.workflowId);
      return !isFinalJob(child) && (member === undefined || (member.paused === undefined && !member.revived));
    });
    this.#violations.check(
      RULES.sweepSlots,
      busy.length <= maxConcurrent,
      () => `${job.workflowId} may run ${maxConcurrent} trials: ${busy.map(({ workflowId }) => workflowId).join(', ')}`,
    );
  }

  /** When nothing happens any more until some time comes. */
  quiet(): void {
    for (const job of this.#database.jobs.values()) {
      const row = this.#database.workflows.get(job.workflowId);
      const children = this.#childrenOf(job);
      if (row === undefined || children.length === 0) continue;
      const open = children.filter((child) => !isFinalJob(child));
      const names = open.map(({ workflowId, status }) => `${workflowId} is ${status}`).join(', ');
      const member = (child: JobRow) => this.#members.get(child.workflowId);
      if (TAKES_CHILDREN_ALONG.includes(job.status))
        this.#violations.check(
          RULES.noOrphans,
          open.every((child) => member(child)?.revived === true),
          () => `${job.workflowId} is ${job.status}; ${names}`,
        );
      if (row.status !== 'open') continue;
      const rest = open.every((child) => row.paused || member(child)?.paused !== 'ParentPaused');
      this.#violations.check(RULES.restTogether, rest, () => `${job.workflowId} is ${job.status}; ${names}`);
      if (row.paused || !WAITS_FOR_CHILDREN.includes(row.state)) continue;
      this.#violations.check(
        RULES.awaited,
        open.some((child) => member(child)?.paused !== 'Pruned'),
        () => `${job.workflowId} waits in ${row.state}, for nobody; ${names}`,
      );
    }
  }

  atEnd(): void {
    for (const job of this.#database.jobs.values()) {
      if (job.type !== 'hpo' || !HAS_TRIALS.includes(job.status)) continue;
      const { trials } = (job.result ?? {}) as { trials?: readonly unknown[] };
      const asked = (job.spec as { trials: number }).trials;
      const started = this.#childrenOf(job).length;
      this.#violations.check(
        RULES.trials,
        trials?.length === asked && started === asked,
        () => `${job.workflowId} asked for ${asked} trials, started ${started}, answers ${trials?.length}`,
      );
    }
  }
}

const isRetry = ({ type }: EventRow): boolean => type === 'RetryRequested';
