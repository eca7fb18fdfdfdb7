import type { OutgoingMessage } from '#lib/bus/port.ts';
import { JOB_STATUS, priorityRank } from '#lib/contracts/jobs.ts';
import { digestOf as sha256 } from '#lib/contracts/digest.ts';
import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import { type Budget, budgetRefusal, gpuSecondsFree } from '../domain/budget.ts';
import { jobKind } from '../domain/job-kinds/registry.ts';
import { parseSubmission, type Submission } from '../domain/submission.ts';
import { sortableId } from './ids.ts';
import { startMessages } from './job-messages.ts';
import type { Gateway, JobRow, SnapshotQuery, SubmissionSnapshot } from './ports.ts';
import { findReferences, type Lookups } from './references.ts';

/** What somebody asks for, whichever door it comes through. */
export interface SubmitRequest {
  readonly project: string;
  readonly body: unknown;
  readonly headerKey?: string | undefined;
  /** Checks the same and stores nothing. */
  readonly dryRun?: boolean;
  /** Key id of whoever asks: nobody approves a job of their own. */
  readonly submittedBy: string;
  /** Key id whose role counts for what is released without approval; null: nobody's. By default whoever submits. */
  readonly releasedBy?: string | null;
  /** Message id of a `JobRequested`; absent for REST. */
  readonly requestId?: string;
}

/** A job that may be stored, with what its storing says. */
export interface NewJob {
  readonly kind: 'new';
  readonly job: JobRow;
  readonly messages: readonly OutgoingMessage[];
}

export interface DryRun {
  readonly kind: 'dryRun';
  readonly submission: Submission;
  readonly gpuSecondsEstimate: number;
  readonly gpuSecondsFree: number;
}

export type Plan =
  | NewJob
  | DryRun
  | {
      readonly kind: 'existing';
      readonly found: NonNullable<SubmissionSnapshot['existing']>;
      readonly requestDigest: string;
    };

/** The body against the schemas, with defaults. Throws `ValidationFailed`. */
export function parse({ body, headerKey, dryRun = false }: SubmitRequest): Submission {
  const parsed = parseSubmission(body, headerKey, dryRun);
  if (!parsed.ok) throw new TrainyardError(parsed.code, parsed.reason, { fields: parsed.fields });
  return parsed.submission;
}

/** What has to be known to decide: project, a former request with the key, the datasets. */
export function snapshotQuery(project: string, { idempotencyKey, type, spec }: Submission): SnapshotQuery {
  const { datasets, lastRetrainOf } = jobKind(type).references(spec);
  return {
    project,
    idempotencyKey: idempotencyKey ?? null,
    datasets: Object.values(datasets).map(({ name, version }) => ({
      name,
      version: version === 'latest' ? null : version,
    })),
    retrainOf: lastRetrainOf ?? null,
  };
}

/** Everything but the storing. Throws what `submitJob` throws. */
export async function planJob(
  gateway: Gateway,
  request: SubmitRequest,
  known: {
    readonly submission: Submission;
    readonly snapshot: SubmissionSnapshot | null;
    readonly lookups: Lookups;
  },
): Promise<Plan> {
  const { project, dryRun = false, requestId = null, submittedBy, releasedBy = submittedBy } = request;
  const { submission, snapshot, lookups } = known;
  const { spec } = submission;
  const kind = jobKind(submission.type);
  // 1. The project, and a former request with the key.
  if (snapshot === null) throw new TrainyardError('NotFound', `there is no project ${project}`);
  const requestDigest = requestDigestOf(submission);
  if (snapshot.existing !== null && !dryRun) return { kind: 'existing', found: snapshot.existing, requestDigest };

  // 2. The rules that no schema can say.
  const findings = await findReferences(lookups, kind.references(spec), {
    project,
    snapshot,
    submittedBy,
    releasedBy,
  });
  const fields = kind.check(spec, findings);
  if (fields.length > 0) throw new TrainyardError('ValidationFailed', 'the job cannot run as asked', { fields });

  // 3. Money. Checked here for a quick and cheap refusal; the insert decides.
  const gpuSecondsEstimate = kind.estimate(spec, findings, gateway.slotSpeed);
  refuseOverBudget(snapshot.budget, gpuSecondsEstimate);
  if (dryRun)
    return { kind: 'dryRun', submission, gpuSecondsEstimate, gpuSecondsFree: gpuSecondsFree(snapshot.budget) };

  const job = newJob(gateway.now(), request, submission, { requestDigest, gpuSecondsEstimate });
  const input = kind.input(spec, findings, {
    jobId: job.id,
    project,
    submittedAtMs: job.submittedAt.getTime(),
    codeCommit: gateway.codeCommit,
    digestOf: sha256,
  });
  return { kind: 'new', job, messages: startMessages(gateway, job, input, requestId) };
}

/** Throws `BudgetExhausted` with the numbers. */
export function refuseOverBudget(budget: Budget, gpuSecondsEstimate: number): void {
  const reason = budgetRefusal(budget, gpuSecondsEstimate);
  if (reason === null) return;
  throw new TrainyardError('BudgetExhausted', reason, {
    details: { gpuSecondsEstimate, gpuSecondsFree: gpuSecondsFree(budget), ...budget },
  });
}

/** What makes two requests the same: everything but where it came from. */
const requestDigestOf = ({ type, priority, spec, labels, description }: Submission): string =>
  sha256({ type, priority, spec, labels, description });

function newJob(
  nowMs: number,
  { project, submittedBy }: SubmitRequest,
  submission: Submission,
  decided: { readonly requestDigest: string; readonly gpuSecondsEstimate: number },
): JobRow {
  const { type, idempotencyKey, priority, spec, labels, description } = submission;
  invariant(idempotencyKey !== undefined, 'a submission that is stored has an idempotency key');
  return {
    id: `job-${sortableId(nowMs)}`,
    project,
    type,
    idempotencyKey,
    // A dot, which no project name has: `a` with key `b-c` and `a-b` with key `c` must not be one workflow.
    workflowId: `wf-${type}-${project}.${idempotencyKey}`,
    priority: priorityRank(priority),
    spec,
    labels,
    description,
    status: JOB_STATUS.submitted,
    step: null,
    result: null,
    error: null,
    submittedAt: new Date(nowMs),
    startedAt: null,
    finishedAt: null,
    parentJobId: null,
    submittedBy,
    deleted: false,
    ...decided,
  };
}
