import type { AnyStateMachine } from 'xstate';
import type { Codec } from '#lib/contracts/codec.ts';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { JOB_STATUS, type JobType } from '#lib/contracts/jobs.ts';
import type { Gateway, JobRow } from '../../services/gateway/app/ports.ts';
import { submitJob } from '../../services/gateway/app/submit-job.ts';
import { evalOnly } from '../../services/orchestrator/domain/workflows/eval-only.ts';
import { fineTune } from '../../services/orchestrator/domain/workflows/fine-tune.ts';
import { hpo } from '../../services/orchestrator/domain/workflows/hpo.ts';
import {
  PROFILES,
  type WorkflowProfile,
  workflowRegistry,
} from '../../services/orchestrator/domain/workflows/registry.ts';
import { retrain } from '../../services/orchestrator/domain/workflows/retrain.ts';
import { rlhf } from '../../services/orchestrator/domain/workflows/rlhf.ts';
import { JOB_BODIES } from './job-bodies.ts';
import { timedSteps } from './timed-steps.ts';
import type { SimRandom } from './sim-random.ts';

/** A request as its client keeps it: sent again, unchanged, until there is an answer. */
export interface JobRequest {
  readonly kind: string;
  readonly project: string;
  readonly idempotencyKey: string;
  readonly body: Record<string, unknown>;
}

/** One type of job in the simulation. A new type is a line in `JOB_KINDS`, its machine and its activities. */
export interface JobKind {
  readonly jobType: string;
  readonly machine: AnyStateMachine;
  readonly profile: WorkflowProfile;
  /** Share of the jobs, relative to the other kinds'. */
  readonly weight: number;
  readonly request: (random: SimRandom, project: string, idempotencyKey: string) => Record<string, unknown>;
  /** Runs in the gateway's process; answers the job's id. */
  readonly submit: (gateway: Gateway, request: JobRequest) => Promise<string>;
}

/** Waits between attempts that fit a simulation of a minute. */
const RETRY = { initialIntervalMs: 200, maxIntervalMs: 2_000 };

const shipped = (jobType: JobType, machine: AnyStateMachine, weight: number): JobKind => ({
  jobType,
  machine,
  profile: { ...PROFILES[jobType], retry: { ...PROFILES[jobType].retry, ...RETRY } },
  weight,
  request: (random, _project, idempotencyKey) => JOB_BODIES[jobType](random, idempotencyKey),
  submit: async (gateway, { project, body }) => {
    const result = await submitJob(gateway, {
      project,
      body,
      headerKey: undefined,
      dryRun: false,
      submittedBy: SUBMITTER,
    });
    if (result.kind === 'dryRun') throw new Error('this was no dry run');
    return result.job.id;
  },
});

/** Key id of everybody who submits jobs; it votes about them, too, which must not count. */
export const SUBMITTER = 'somebody';

/** Comes in as another system's job would: row, reservation and command in one transaction, past the validation that only knows shipped types. */
const timedStepsKind: JobKind = {
  jobType: 'timed_steps',
  machine: timedSteps,
  profile: {
    current: timedSteps.id,
    retry: { maxAttempts: 4, backoff: 2, ...RETRY },
    executionTimeoutMs: 3_600_000,
  },
  weight: 1,
  request: () => ({}),
  submit: async (gateway, request) => {
    const job = timedStepsJob(gateway, request);
    const inserted = await gateway.jobs.insert(job, [startMessage(gateway.codec, job)]);
    if (inserted.kind === 'overBudget') throw new Error('the budget covers every simulated job');
    return inserted.kind === 'created' ? job.id : (inserted.job?.id ?? job.id);
  },
};

export const JOB_KINDS: readonly JobKind[] = [
  shipped('fine_tune', fineTune, 3),
  shipped('hpo', hpo, 1),
  shipped('retrain', retrain, 1),
  shipped('rlhf', rlhf, 1),
  shipped('eval_only', evalOnly, 1),
  timedStepsKind,
];

/** What orchestrators of the simulation know: every kind, with an execution timeout of its own when given. */
export const simulatedRegistry = (executionTimeoutMs: number | null) =>
  workflowRegistry(
    Object.fromEntries(
      JOB_KINDS.map(({ jobType, profile }) => [
        jobType,
        executionTimeoutMs === null ? profile : { ...profile, executionTimeoutMs },
      ]),
    ),
    JOB_KINDS.map(({ machine }) => machine),
  );

function timedStepsJob(gateway: Gateway, { project, idempotencyKey }: JobRequest): JobRow {
  const nowMs = gateway.now();
  return {
    id: `job-timed-${project}-${idempotencyKey}`,
    project,
    type: 'eval_only',
    idempotencyKey,
    requestDigest: '',
    workflowId: `wf-timed_steps-${project}.${idempotencyKey}`,
    priority: 1,
    spec: {},
    labels: {},
    description: '',
    status: JOB_STATUS.submitted,
    step: null,
    result: null,
    error: null,
    gpuSecondsEstimate: 10,
    submittedAt: new Date(nowMs),
    startedAt: null,
    finishedAt: null,
    parentJobId: null,
    submittedBy: null,
    deleted: false,
  };
}

const startMessage = (codec: Codec, job: JobRow) =>
  encodeMessage(codec, {
    topic: 'orchestrator.commands',
    key: job.workflowId,
    type: 'StartWorkflow',
    payload: {
      workflowId: job.workflowId,
      jobId: job.id,
      project: job.project,
      jobType: 'timed_steps',
      priority: job.priority,
      submittedAtMs: job.submittedAt.getTime(),
      inputJson: '{}',
      parentJson: null,
      submittedBy: null,
    },
    envelope: { id: `start:${job.workflowId}`, source: '/simulation', timeMs: job.submittedAt.getTime() },
  });
