import { createHash } from 'node:crypto';
import type { OutgoingMessage } from '#lib/bus/port.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { type FineTuneInput, JOB_STATUS, priorityRank } from '#lib/contracts/jobs.ts';
import { canonicalJson, type Json } from '#lib/kernel/canonical-json.ts';
import { assertNever, invariant, TrainyardError } from '#lib/kernel/errors.ts';
import { type Budget, budgetRefusal, gpuSecondsFree } from '../domain/budget.ts';
import { estimateFineTuneGpuSeconds } from '../domain/estimate.ts';
import { architectureOf, type BaseFinding, checkFineTune, type FineTuneFindings } from '../domain/fine-tune-rules.ts';
import { parseSubmission, type Submission } from '../domain/submission.ts';
import { sortableId } from './ids.ts';
import type { Gateway, JobRow, SubmissionSnapshot } from './ports.ts';
import { datasetFinding, findBase } from './references.ts';

export const SOURCE = '/trainyard/gateway';

export type SubmitResult =
  | { readonly kind: 'created'; readonly job: JobRow }
  /** The same request was made before. */
  | { readonly kind: 'existing'; readonly job: JobRow }
  | {
      readonly kind: 'dryRun';
      readonly submission: Submission;
      readonly gpuSecondsEstimate: number;
      readonly gpuSecondsFree: number;
    };

/** What somebody asks for, whichever door it comes through. */
export interface SubmitRequest {
  readonly project: string;
  readonly body: unknown;
  readonly headerKey?: string | undefined;
  /** Checks the same and stores nothing. */
  readonly dryRun?: boolean;
  /** Message id of a `JobRequested`; absent for REST. */
  readonly requestId?: string;
}

/**
 * Takes a job in: exactly once per project and idempotency key, however often and however parallel it is asked for.
 *
 * Throws `ValidationFailed` with a pointer per broken rule, `JobTypeUnavailable`, `NotFound` (project), `IdempotencyConflict`,
 * `BudgetExhausted` with the numbers. A dry run checks the same and stores nothing.
 */
export async function submitJob(gateway: Gateway, request: SubmitRequest): Promise<SubmitResult> {
  const submission = parse(request);
  const { project } = request;
  const snapshot = await gateway.jobs.snapshot(snapshotQuery(project, submission));
  const base = (): Promise<BaseFinding> => findBase(gateway.registry, project, submission.spec.base);
  const plan = await planJob(gateway, request, { submission, snapshot, base });
  switch (plan.kind) {
    case 'existing':
      return existing(gateway, plan.found, plan.requestDigest);
    case 'dryRun':
      return plan;
    case 'new':
      return insert(gateway, plan);
    default:
      return assertNever(plan);
  }
}

/** The body against the schemas, with defaults. Throws `ValidationFailed` or `JobTypeUnavailable`. */
export function parse({ body, headerKey, dryRun = false }: SubmitRequest): Submission {
  const parsed = parseSubmission(body, headerKey, dryRun);
  if (!parsed.ok) throw new TrainyardError(parsed.code, parsed.reason, { fields: parsed.fields });
  return parsed.submission;
}

/** What has to be known to decide: project, a former request with the key, the dataset. */
export const snapshotQuery = (
  project: string,
  { idempotencyKey, spec: { dataset } }: Submission,
): Parameters<Gateway['jobs']['snapshot']>[0] => ({
  project,
  idempotencyKey: idempotencyKey ?? null,
  dataset: dataset.name,
  version: dataset.version === 'latest' ? null : dataset.version,
});

/** A job that may be stored, with what its storing says. */
export interface NewJob {
  readonly kind: 'new';
  readonly job: JobRow;
  readonly messages: readonly OutgoingMessage[];
}

type Plan =
  | NewJob
  | {
      readonly kind: 'existing';
      readonly found: NonNullable<SubmissionSnapshot['existing']>;
      readonly requestDigest: string;
    }
  | Extract<SubmitResult, { kind: 'dryRun' }>;

/** Everything but the storing. Throws what `submitJob` throws. */
export async function planJob(
  gateway: Gateway,
  request: SubmitRequest,
  known: {
    readonly submission: Submission;
    readonly snapshot: SubmissionSnapshot | null;
    readonly base: () => Promise<BaseFinding>;
  },
): Promise<Plan> {
  const { project, dryRun = false, requestId = null } = request;
  const { submission, snapshot } = known;
  // 1. The project, and a former request with the key.
  if (snapshot === null) throw new TrainyardError('NotFound', `there is no project ${project}`);
  const requestDigest = digestOf(submission);
  if (snapshot.existing !== null && !dryRun) return { kind: 'existing', found: snapshot.existing, requestDigest };

  // 2. The rules that no schema can say.
  const findings: FineTuneFindings = { dataset: datasetFinding(snapshot), base: await known.base() };
  const fields = checkFineTune(submission.spec, findings);
  if (fields.length > 0) throw new TrainyardError('ValidationFailed', 'the job cannot run as asked', { fields });

  // 3. Money. Checked here for a quick and cheap refusal; the insert decides.
  const shape = architectureOf(submission.spec, findings.base);
  const gpuSecondsEstimate = estimateFineTuneGpuSeconds(submission.spec, shape, gateway.slotSpeed);
  refuseOverBudget(snapshot.budget, gpuSecondsEstimate);
  if (dryRun)
    return { kind: 'dryRun', submission, gpuSecondsEstimate, gpuSecondsFree: gpuSecondsFree(snapshot.budget) };

  const job = newJob(gateway.now(), project, submission, requestDigest, gpuSecondsEstimate);
  const input = machineInput(gateway, job, submission, findings);
  return { kind: 'new', job, messages: startMessages(gateway, job, input, requestId) };
}

/** One transaction: job, reservation, commands. */
async function insert(gateway: Gateway, { job, messages }: NewJob): Promise<SubmitResult> {
  const inserted = await gateway.jobs.insert(job, messages);
  switch (inserted.kind) {
    case 'created':
      return { kind: 'created', job };
    case 'exists':
      return existing(gateway, inserted.job, job.requestDigest);
    case 'overBudget':
      refuseOverBudget(inserted.budget, job.gpuSecondsEstimate);
      // The budget was raised between the refusal and the read of its numbers.
      throw new TrainyardError('ServiceUnavailable', 'the budget changed while the job was submitted; try again');
    default:
      return assertNever(inserted);
  }
}

async function existing(
  gateway: Gateway,
  found: { readonly id: string; readonly requestDigest: string; readonly deleted: boolean } | null,
  requestDigest: string,
): Promise<SubmitResult> {
  if (found === null)
    throw new TrainyardError(
      'IdempotencyConflict',
      'the idempotency key makes a workflow id that is taken; use another',
    );
  if (found.deleted || found.requestDigest !== requestDigest) {
    const what = found.deleted ? 'for a job that was deleted' : 'with another body';
    throw new TrainyardError('IdempotencyConflict', `the idempotency key was used before ${what}`, {
      details: { jobId: found.id },
    });
  }
  const job = await gateway.jobs.find(found.id, null);
  if (job === null) throw new TrainyardError('StateConflict', 'the job was deleted just now');
  return { kind: 'existing', job };
}

function refuseOverBudget(budget: Budget, gpuSecondsEstimate: number): void {
  const reason = budgetRefusal(budget, gpuSecondsEstimate);
  if (reason === null) return;
  throw new TrainyardError('BudgetExhausted', reason, {
    details: { gpuSecondsEstimate, gpuSecondsFree: gpuSecondsFree(budget), ...budget },
  });
}

const sha256 = (value: unknown): string =>
  createHash('sha256')
    .update(canonicalJson(value as Json))
    .digest('hex');

/** What makes two requests the same: everything but where it came from. */
const digestOf = ({ type, priority, spec, labels, description }: Submission): string =>
  sha256({ type, priority, spec, labels, description });

function newJob(
  nowMs: number,
  project: string,
  submission: Submission,
  requestDigest: string,
  gpuSecondsEstimate: number,
): JobRow {
  const { type, idempotencyKey, priority, spec, labels, description } = submission;
  invariant(idempotencyKey !== undefined, 'a submission that is stored has an idempotency key');
  return {
    id: `job-${sortableId(nowMs)}`,
    project,
    type,
    idempotencyKey,
    requestDigest,
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
    gpuSecondsEstimate,
    submittedAt: new Date(nowMs),
    startedAt: null,
    finishedAt: null,
    deleted: false,
  };
}

function machineInput(
  gateway: Gateway,
  job: JobRow,
  { spec }: Submission,
  { dataset, base }: FineTuneFindings,
): FineTuneInput {
  invariant(dataset.found && base.kind !== 'absent' && base.kind !== 'unusable', 'references were checked');
  return {
    jobId: job.id,
    project: job.project,
    spec,
    dataset: dataset.dataset,
    base:
      'config' in spec.base || base.kind === 'config' ? configBase(spec.base) : { kind: 'model', model: base.model },
    configDigest: sha256(spec),
    codeCommit: gateway.codeCommit,
  };
}

function configBase(base: Submission['spec']['base']): FineTuneInput['base'] {
  invariant('config' in base, 'a finding of kind config comes from a config');
  return { kind: 'config', config: base.config };
}

function startMessages(
  gateway: Gateway,
  job: JobRow,
  input: FineTuneInput,
  requestId: string | null,
): OutgoingMessage[] {
  const timeMs = job.submittedAt.getTime();
  const { id: jobId, project, type: jobType, workflowId, priority } = job;
  return [
    encodeMessage(gateway.codec, {
      topic: 'orchestrator.commands',
      key: workflowId,
      type: 'StartWorkflow',
      payload: {
        workflowId,
        jobId,
        project,
        jobType,
        priority,
        submittedAtMs: timeMs,
        inputJson: JSON.stringify(input),
        parentJson: null,
        submittedBy: null,
      },
      envelope: { id: `start:${workflowId}`, source: SOURCE, timeMs },
    }),
    acceptedMessage(gateway, job, requestId),
  ];
}

/** Tells everybody, and the producer of the request, that the job is in. A second request for the job gets an answer of its own. */
export function acceptedMessage({ codec }: Gateway, job: JobRow, requestId: string | null): OutgoingMessage {
  const { id: jobId, project, type: jobType, workflowId, idempotencyKey } = job;
  return encodeMessage(codec, {
    topic: 'jobs.events',
    key: project,
    type: 'JobAccepted',
    payload: { jobId, project, jobType, workflowId, requestId, idempotencyKey },
    envelope: {
      id: requestId === null ? `accepted:${jobId}` : `accepted:${jobId}:${requestId}`,
      source: SOURCE,
      timeMs: job.submittedAt.getTime(),
    },
  });
}
