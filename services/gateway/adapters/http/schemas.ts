import { type Static, type TSchema, Type } from '#typebox';
import { DatasetFormat, JOB_STATUS, JOB_TYPES, type JobStatus, Name, PRIORITIES } from '#lib/contracts/jobs.ts';
import { ApprovalSubject } from '#lib/contracts/release.ts';
import { STAGES } from '#lib/model-registry/port.ts';
import { Direction } from '#lib/search-space/trial.ts';
import { ROLES } from '../../domain/access.ts';
import { DRIFT_COMPONENTS } from './drift-schemas.ts';
import { CompletionResult, OpenAiCompletion } from './completion-schemas.ts';
import { ModelTraffic, Promotion } from './promotion-schemas.ts';
import { APPROVAL_STATUSES } from '../../domain/vote-rules.ts';
import { SUBMISSIONS } from './submit-schemas.ts';

/** Response and request schemas that the API document shows by name. */
const oneOf = <const T extends readonly string[]>(values: T) =>
  Type.Unsafe<T[number]>({ type: 'string', enum: [...values] });
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ format: 'date-time', examples: ['2026-11-24T09:30:00.000Z'] });
const Seconds = Type.Number({ minimum: 0 });

const Problem = Type.Object(
  {
    type: Type.String({ description: 'URI reference of the error code' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: 'stable code, see docs/errors.md' }),
    instance: Type.String(),
    requestId: Type.String(),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({
            description: 'JSON pointer into the body; /query/..., /path/... and /headers/... for the other parts',
          }),
          message: Type.String(),
        }),
      ),
    ),
  },
  {
    description: 'RFC 9457; further members are numbers and ids that belong to the code',
    examples: [
      {
        type: '/errors/ValidationFailed',
        title: 'The request does not match its schema.',
        status: 422,
        detail: 'the job cannot run as asked',
        code: 'ValidationFailed',
        instance: '/v1/jobs',
        requestId: '0199d3c2-1111-7000-8000-000000000000',
        errors: [{ pointer: '/spec/dataset/name', message: 'there is no dataset speeches in the project' }],
      },
    ],
  },
);

const STATUSES = Object.values(JOB_STATUS) as readonly JobStatus[];

const Job = Type.Object({
  id: Type.String(),
  type: oneOf(JOB_TYPES),
  project: Type.String(),
  status: oneOf(STATUSES),
  step: nullable(Type.String({ description: 'state of the workflow' })),
  priority: oneOf(PRIORITIES),
  idempotencyKey: Type.String(),
  labels: Type.Record(Type.String(), Type.String()),
  description: Type.String(),
  spec: Type.Unknown({ description: 'as submitted, with defaults; its schema belongs to the type' }),
  result: Type.Unknown({ description: 'null until the job has one' }),
  error: Type.Unknown({ description: 'null unless the job failed' }),
  gpuSecondsEstimate: Seconds,
  laneSeconds: Type.Object({ useful: Seconds, lost: Seconds, waiting: Seconds }),
  submittedAt: Time,
  startedAt: nullable(Time),
  finishedAt: nullable(Time),
  parentJobId: nullable(Type.String({ description: 'the job that started this one' })),
  submittedBy: nullable(Type.String({ description: 'key id; nobody approves a job of their own' })),
  links: Type.Record(Type.String(), Type.String()),
});

/** Those of a search that were started; how each of them stands now. */
const Trial = Type.Object({
  number: Type.Integer({ description: 'from 0, in the order in which configurations were asked for' }),
  jobId: Type.String(),
  status: oneOf(STATUSES),
  configuration: Type.Record(Type.String(), Type.Unknown(), { description: 'values of the active parameters' }),
  value: nullable(Type.Number({ description: 'the objective; null unless the trial is COMPLETED' })),
  lastReport: nullable(
    Type.Object({ step: Type.Integer(), value: Type.Number() }, { description: 'newest point of the curve' }),
  ),
  gpuSeconds: Type.Number({ description: 'used so far, lost attempts included' }),
  links: Type.Record(Type.String(), Type.String()),
});
const TrialList = Type.Object({
  jobId: Type.String(),
  metric: Type.String(),
  direction: Direction,
  items: Type.Array(Trial),
  result: Type.Unknown({ description: "the search's; null until it has one" }),
});

const Approval = Type.Object({
  id: Type.String(),
  project: Type.String(),
  jobId: Type.String(),
  approval: Type.String({ description: 'what the workflow calls the ticket' }),
  status: oneOf(APPROVAL_STATUSES),
  subject: ApprovalSubject,
  digest: Type.String({ description: "SHA-256 of the subject's canonical JSON: a vote names it" }),
  submittedBy: nullable(Type.String({ description: 'key id of whoever submitted the job; their vote never counts' })),
  required: Type.Integer({ description: 'different approvers who must agree' }),
  approvers: nullable(Type.Array(Type.String(), { description: 'key ids; null = every key with the role approver' })),
  votes: Type.Array(
    Type.Object({
      by: Type.String(),
      decision: oneOf(['approve', 'reject']),
      comment: nullable(Type.String()),
      at: Time,
      hash: Type.String({ description: 'chains the vote to the one before it, the first to the digest' }),
    }),
  ),
  chainHolds: Type.Boolean({
    description:
      'subject, digest and votes agree with the hashes, computed anew for this answer; false: somebody changed the record. Not covered: status, required, approvers, submittedBy, and votes removed from the end',
  }),
  reminders: Type.Integer(),
  requestedAt: Time,
  expiresAt: Time,
  decidedAt: nullable(Time),
  links: Type.Record(Type.String(), Type.String()),
});

const page = <T extends TSchema>(items: T) =>
  Type.Object({
    items: Type.Array(items),
    nextCursor: nullable(Type.String({ description: 'for the next page; null on the last one' })),
  });

const Event = Type.Object({
  seq: Type.Integer(),
  type: Type.String(),
  at: Time,
  state: Type.String({ description: 'state of the workflow after this event' }),
  data: Type.Unknown(),
});

const Activity = Type.Object({
  id: Type.String(),
  name: Type.String(),
  lane: Type.String(),
  state: Type.String(),
  epoch: Type.Integer({ description: 'number of the current attempt' }),
  failures: Type.Integer(),
  preemptions: Type.Integer(),
  workerId: nullable(Type.String()),
  waitReason: nullable(Type.String()),
  progress: Type.Unknown(),
  error: Type.Unknown(),
  queuedAt: Time,
  startedAt: nullable(Time),
  endedAt: nullable(Time),
  laneSeconds: Type.Object({ useful: Seconds, lost: Seconds, waiting: Seconds }),
});

const Curves = Type.Object({
  jobId: Type.String(),
  series: Type.Array(
    Type.Object({
      name: Type.String(),
      activity: Type.String({
        description: 'the step of the flow that reported it: two may report a curve of one name',
      }),
      total: Type.Integer({ description: 'points there are; more than `points` when thinned out' }),
      points: Type.Array(Type.Object({ step: Type.Integer(), value: Type.Number() })),
    }),
  ),
});

const Artifacts = Type.Object({
  jobId: Type.String(),
  manifestKey: Type.String(),
  digest: Type.String(),
  epoch: Type.Integer(),
  files: Type.Array(
    Type.Object({
      path: Type.String(),
      key: Type.String(),
      bytes: Type.Integer(),
      sha256: Type.String(),
      partSize: Type.Integer(),
    }),
  ),
});

const ModelVersion = Type.Object({
  name: Type.String(),
  version: Type.Integer(),
  project: Type.String(),
  stage: oneOf(STAGES),
  manifestKey: Type.String(),
  lineage: Type.Record(Type.String(), Type.String()),
  tags: Type.Record(Type.String(), Type.String()),
  createdAt: Type.String(),
});

const DatasetVersion = Type.Object({
  project: Type.String(),
  name: Type.String(),
  version: Type.Integer(),
  format: DatasetFormat,
  bytes: Type.Integer(),
  sha256: Type.String(),
  createdAt: Time,
});

const Tier = oneOf(['free', 'standard', 'premium']);
const GpuSeconds = Type.Number({ minimum: 0, description: '3,600 are one GPU hour' });

const Project = Type.Object({
  id: Type.String(),
  displayName: Type.String(),
  tier: Type.String(),
  maxRunningWorkflows: Type.Integer(),
  gpuSecondsBudget: GpuSeconds,
  gpuSecondsReserved: GpuSeconds,
  gpuSecondsUsed: GpuSeconds,
  gpuSecondsFree: GpuSeconds,
  createdAt: Time,
});

export const ProjectChange = Type.Object(
  {
    displayName: Type.Optional(Type.String({ maxLength: 200 })),
    tier: Type.Optional(Tier),
    maxRunningWorkflows: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
    gpuSecondsBudget: Type.Optional(Type.Number({ minimum: 0, maximum: 1e12, description: '3,600 are one GPU hour' })),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'what is left out keeps its value, or gets its default in a new project',
    examples: [{ displayName: 'Speech models', tier: 'standard', maxRunningWorkflows: 8, gpuSecondsBudget: 36_000 }],
  },
);

export const NewKey = Type.Object(
  { role: oneOf(ROLES), name: Type.String({ maxLength: 200, default: '' }) },
  { additionalProperties: false, examples: [{ role: 'submitter', name: 'nightly pipeline' }] },
);

const ApiKey = Type.Object({
  id: Type.String(),
  project: nullable(Type.String()),
  role: oneOf(ROLES),
  name: Type.String(),
  createdAt: Time,
  revokedAt: nullable(Time),
});
const IssuedKey = Type.Object({ ...ApiKey.properties, key: Type.String({ description: 'shown once' }) });

const Lane = Type.Object({
  lane: Type.String(),
  workers: Type.Integer(),
  slots: Type.Integer(),
  free: Type.Integer(),
  running: Type.Integer(),
  placed: Type.Integer(),
  queued: Type.Integer(),
});
const Worker = Type.Object({
  id: Type.String(),
  incarnation: Type.String(),
  lane: Type.String(),
  slots: Type.Integer(),
  running: Type.Integer(),
  device: Type.Unknown(),
  startedAt: Time,
  lastSeenAt: Time,
});

const DryRun = Type.Object({
  valid: Type.Literal(true),
  gpuSecondsEstimate: Seconds,
  gpuSecondsFree: Seconds,
  spec: Type.Unknown({ description: 'with every default filled in' }),
});

const EventPage = Type.Object({
  items: Type.Array(Event),
  nextAfter: nullable(Type.Integer({ description: '`after` of the next page; null when there is nothing more now' })),
});

const Readiness = Type.Object({
  service: Type.String(),
  ready: Type.Boolean(),
  components: Type.Array(
    Type.Object({ name: Type.String(), ready: Type.Boolean(), reason: Type.Optional(Type.String()) }),
  ),
});

export const COMPONENTS = {
  Problem,
  Job,
  JobPage: page(Job),
  TrialList,
  Approval,
  ApprovalPage: page(Approval),
  EventPage,
  ActivityList: Type.Object({ items: Type.Array(Activity) }),
  Curves,
  Artifacts,
  ModelVersion,
  ModelVersionPage: page(ModelVersion),
  ModelPage: page(Type.Object({ name: Type.String(), latestVersion: Type.Integer(), versions: Type.Integer() })),
  Completion: CompletionResult,
  OpenAiCompletion,
  ModelTraffic,
  Promotion,
  PromotionPage: page(Promotion),
  DatasetVersion,
  DatasetVersionPage: page(DatasetVersion),
  Project,
  ProjectPage: page(Project),
  ApiKey,
  ApiKeyList: Type.Object({ items: Type.Array(ApiKey) }),
  IssuedKey,
  LaneList: Type.Object({ items: Type.Array(Lane) }),
  WorkerList: Type.Object({ items: Type.Array(Worker) }),
  ...SUBMISSIONS,
  ...DRIFT_COMPONENTS,
  DryRun,
  Readiness,
};
export type Component = keyof typeof COMPONENTS;
export type Body<C extends Component> = Static<(typeof COMPONENTS)[C]>;

/** A component by name, in a route's schema. */
export const ref = (name: Component): TSchema => Type.Unsafe({ $ref: `${name}#` });

const PROBLEMS = {
  400: 'malformed JSON',
  401: 'no API key, or an unknown one',
  402: 'the GPU budget is exhausted',
  403: "the key's role does not allow this",
  404: 'not there, or of another project',
  409: 'the state or an earlier request does not allow this',
  413: 'the body is too large',
  415: 'the content type is not supported',
  422: 'a field is wrong; `errors` names it',
  429: 'too many requests',
  502: 'the model version cannot be run',
  503: 'a component cannot be reached',
} as const;

/** The problem responses of a route; every route of `/v1` has those of a missing key, a wrong role, a wrong query and too many requests. */
export function problems(...statuses: (keyof typeof PROBLEMS)[]): Record<number, unknown> {
  const all = new Set([401, 403, 422, 429, 503, ...statuses] as const);
  return Object.fromEntries(
    [...all].map((status) => [
      status,
      { description: PROBLEMS[status], content: { 'application/problem+json': { schema: ref('Problem') } } },
    ]),
  );
}

export const ProjectQuery = {
  project: Type.Optional(Name),
};
export const PageQuery = {
  limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
  cursor: Type.Optional(Type.String({ maxLength: 1_000, description: '`nextCursor` of the page before' })),
};
