// Generated from schemas/avro by `npm run generate`. Do not edit.
/** An attempt ended well. */
export interface ActivityCompleted {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** Epoch milliseconds. */
  startedAtMs: number;
  /** Epoch milliseconds. */
  finishedAtMs: number;
  /** Output of the activity as JSON, at most 256 KiB. */
  outputJson: string;
}

/** A worker got a command it cannot run now. Burns no attempt. */
export interface ActivityDeclined {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** NoFreeSlot, Stopping, UnknownActivity. */
  reason: string;
}

/** An attempt failed. */
export interface ActivityFailed {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** Epoch milliseconds. */
  startedAtMs: number;
  /** Epoch milliseconds. */
  finishedAtMs: number;
  /** A code of the error catalogue. */
  code: string;
  /** For people, at most 4 KiB. */
  message: string;
  /** Whether another attempt can help. */
  retryable: boolean;
  /** Last log lines of the program, at most 50. */
  logTail: string[];
}

/** One point of a curve. */
export interface MetricSample {
  /** e.g. `train.loss`. */
  name: string;
  /** Optimiser step, from 0. */
  step: number;
  /** The value. */
  value: number;
}

/** Heartbeat of a running attempt. */
export interface ActivityProgressed {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** Steps done; does not grow = no progress. */
  step: number;
  /** 0 = unknown. */
  stepsTotal: number;
  /** Tokens per second, or what the activity counts. */
  throughput: number | null;
  /** Device counters as JSON: utilisation, memory. */
  deviceJson: string | null;
  /** New points of the curves since the heartbeat before. */
  metrics: MetricSample[];
}

/** A worker runs an attempt. Left out for attempts that end within one flush: their end says when they started. */
export interface ActivityStarted {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** Epoch milliseconds. */
  startedAtMs: number;
}

/** An attempt stopped on request after its checkpoint was stored. */
export interface ActivityYielded {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** Epoch milliseconds. */
  startedAtMs: number;
  /** Epoch milliseconds. */
  finishedAtMs: number;
  /** Preempted, Paused or WorkerStopping. */
  reason: string;
  /** Step of the checkpoint. */
  step: number | null;
}

/** Something happened that people should hear of. */
export interface AlertRaised {
  /** Dedupe key. */
  alertId: string;
  /** Message key. */
  project: string;
  /** Job. */
  jobId: string;
  /** RolledBack or SafetyFailed. */
  kind: string;
  /** For people. */
  message: string;
  /** What the job's answer says, as JSON. */
  detailJson: string;
}

/** A job asks people, was answered, reminds them, or no longer asks. */
export interface ApprovalChanged {
  /** What POST /v1/approvals/{id}/approve calls it. */
  approvalId: string;
  /** Job. */
  jobId: string;
  /** Message key. */
  project: string;
  /** open, approved, rejected, expired, voided or cancelled. */
  status: string;
  /** What is to be reviewed: model version and digests of its reports. */
  subjectJson: string;
  /** SHA-256 of the subject: a vote names it. */
  digest: string;
  /** Votes so far. */
  votes: number;
  /** Approvals needed. */
  required: number;
  /** Rejected when nobody has answered by then, epoch milliseconds. */
  expiresAtMs: number;
  /** 0: something changed; n: the n-th reminder that it waits. */
  reminder: number;
}

/** An ApprovalVoteRequested did not count. */
export interface ApprovalVoteRefused {
  /** Header ce_id of the request. */
  requestId: string;
  /** As the request named it. */
  approvalId: string;
  /** As the request named it; the message key. */
  project: string;
  /** Stable error code (docs/errors.md), the same as REST answers with. */
  code: string;
  /** For people. */
  message: string;
}

/** Public contract: another system answers an approval. The same as POST /v1/approvals/{id}/approve or /reject, with the same checks; header `authorization: Bearer <API key>` says whose vote it is. What became of it: ApprovalChanged on jobs.events when it counts, ApprovalVoteRefused when it does not. */
export interface ApprovalVoteRequested {
  /** As ApprovalChanged and GET /v1/approvals call it. */
  approvalId: string;
  /** Project id; the message key. */
  project: string;
  /** approve or reject. */
  decision: string;
  /** For people. */
  comment: string | null;
  /** Of the ticket that was reviewed. */
  digest: string;
}

/** Command: stop a job. Ignored when it has ended. */
export interface CancelJob {
  /** Message key. */
  workflowId: string;
  /** Who asked, for the log. */
  requestedBy: string;
  /** Free text. */
  reason: string | null;
}

/** A checkpoint is complete in the object store: its manifest is written. */
export interface CheckpointSaved {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Step it was taken at. */
  step: number;
  /** Key of its manifest. */
  manifestKey: string;
  /** SHA-256 of the manifest. */
  digest: string;
}

/** A message that could not be processed, with its raw bytes. */
export interface DeadLetter {
  /** Where it came from. */
  topic: string;
  /** Its partition. */
  partition: number;
  /** Its offset. */
  offset: number;
  /** Its key. */
  key: string | null;
  /** Its headers. */
  headers: Record<string, string>;
  /** Its raw bytes. */
  value: Buffer;
  /** A code of the error catalogue. */
  code: string;
  /** What was wrong. */
  reason: string;
  /** Who could not read it. */
  consumer: string;
  /** Epoch milliseconds. */
  atMs: number;
}

/** Command to a lane: run one attempt of an activity. */
export interface ExecuteActivity {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** For paths and logs. */
  jobId: string;
  /** For paths and logs. */
  project: string;
  /** Name of the activity, e.g. `run_training`. */
  activity: string;
  /** The worker whose slot was taken. Another one that receives it may run it if it has a slot. */
  workerId: string;
  /** Input of the activity as JSON. */
  inputJson: string;
  /** How often the worker reports progress. */
  heartbeatEveryMs: number;
  /** Start-to-close deadline of this attempt, epoch milliseconds. */
  deadlineAtMs: number;
  /** Newest valid checkpoint known to the log, as JSON; null on a first attempt. */
  resumeJson: string | null;
}

/** A job was accepted. */
export interface JobAccepted {
  /** Job. */
  jobId: string;
  /** Message key. */
  project: string;
  /** Type. */
  jobType: string;
  /** Root workflow. */
  workflowId: string;
  /** Header ce_id of the JobRequested that is answered; null: asked for by REST. */
  requestId: string | null;
  /** Of the job. */
  idempotencyKey: string | null;
}

/** A job reached a final status. */
export interface JobFinished {
  /** Job. */
  jobId: string;
  /** Message key. */
  project: string;
  /** Final status. */
  status: string;
  /** Result as JSON. */
  resultJson: string | null;
  /** Problem as JSON. */
  errorJson: string | null;
}

/** A member of the request and what is wrong with it. */
export interface RejectedField {
  /** JSON pointer into the body that POST /v1/jobs would have had, e.g. /spec/hyperparameters/maxSteps. */
  pointer: string;
  /** What is wrong there. */
  message: string;
}

/** A JobRequested was refused; nothing was stored. A corrected request may use the same idempotency key. */
export interface JobRejected {
  /** Header ce_id of the request. */
  requestId: string;
  /** As the request named it; the message key. */
  project: string;
  /** As the request named it. */
  idempotencyKey: string;
  /** Stable error code (docs/errors.md), the same as REST answers with. */
  code: string;
  /** For people. */
  message: string;
  /** Every broken rule; empty when the refusal is not about a member. */
  fields: RejectedField[];
}

/** Public contract: another system asks for a job. The same as POST /v1/jobs, with the same checks; header `authorization: Bearer <API key>` says who asks. Answered on jobs.events by JobAccepted or JobRejected. */
export interface JobRequested {
  /** Project id; the message key. */
  project: string;
  /** Chosen by the producer: the same key with the same content is the same job, by REST too. */
  idempotencyKey: string;
  /** fine_tune, hpo, retrain, rlhf or eval_only. */
  jobType: string;
  /** low, normal, high or urgent; null: normal. */
  priority: string | null;
  /** The member `spec` of POST /v1/jobs, as JSON text; its schema belongs to the type (openapi.json). */
  specJson: string;
  /** Names and values of the producer's own, to find jobs by. */
  labels: Record<string, string>;
  /** For people. */
  description: string;
}

/** The status of a job changed. */
export interface JobStatusChanged {
  /** Job. */
  jobId: string;
  /** Message key. */
  project: string;
  /** New status. */
  status: string;
  /** Current step of the flow. */
  step: string | null;
}

/** One prediction of a model in production. */
export interface ObservationRecorded {
  /** Dedupe key. */
  observationId: string;
  /** Project. */
  project: string;
  /** Model name; the message key. */
  model: string;
  /** Version that answered. */
  modelVersion: number;
  /** Epoch milliseconds. */
  observedAtMs: number;
  /** Input features as JSON. */
  featuresJson: string;
  /** What it answered. */
  prediction: string;
  /** Quality or confidence score, if known. */
  score: number | null;
  /** Truth, if known already. */
  label: string | null;
  /** Whom a canary's split dealt to a version, e.g. a digest of the user: all answers of a unit come from the same one. Null: this answer was dealt on its own, or no canary counts users. */
  routingUnit: string | null;
}

/** Public contract: a model should be trained again. The drift monitor sends it when it has decided; one that another system sends is decided first, by the budget and the running retrain of the model. */
export interface RetrainSignalled {
  /** Dedupe key within the project; the idempotency key of the retrain job. Letters, digits, dot, dash and underscore, at most 128. */
  signalId: string;
  /** Project. */
  project: string;
  /** Model name; the message key. It needs a retrain policy. */
  model: string;
  /** Version that drifted; null: none in particular. */
  modelVersion: number | null;
  /** drift, schedule or manual. */
  source: string;
  /** Drifted features and degraded metrics, most certain first. */
  causes: string[];
  /** Evidence as a JSON object; {} = none. */
  detailJson: string;
  /** Epoch milliseconds of the signal. */
  atMs: number;
}

/** Command: something that a running workflow reacts to. Recorded and without effect when the workflow has ended or does not wait for it. */
export interface SignalWorkflow {
  /** Message key. */
  workflowId: string;
  /** pause, resume, retry, approval.vote, child.reported, child.ended, child.resumed, canary.verdict. */
  signal: string;
  /** What belongs to the signal, as JSON. */
  dataJson: string;
  /** Who sent it, for the log: a key id, a workflow id, a service. */
  requestedBy: string;
}

/** Command: run a workflow for an accepted job. A second one with the same workflow id is a no-op. */
export interface StartWorkflow {
  /** `wf-<type>-<project>.<idempotencyKey>`; the message key. */
  workflowId: string;
  /** The job this workflow is the root of. */
  jobId: string;
  /** Project id. */
  project: string;
  /** fine_tune, hpo, retrain, rlhf or eval_only. */
  jobType: string;
  /** 0 low, 1 normal, 2 high, 3 urgent. */
  priority: number;
  /** When the job was accepted, epoch milliseconds: the order within a priority. */
  submittedAtMs: number;
  /** Input of the machine as JSON: the spec with every reference resolved. */
  inputJson: string;
  /** The workflow that started this one as its child, as JSON {workflowId, childId, reports}; null: a job somebody asked for. */
  parentJson: string | null;
  /** Who asked for the job: a key id. Nobody approves a job of their own. */
  submittedBy: string | null;
}

/** Cancelled and Revoked: stop at once. Preempted and Paused: checkpoint, then yield. */
export type StopReason = 'Cancelled' | 'Preempted' | 'Paused' | 'Revoked';

/** Command to all workers: end an attempt. A worker that does not run it ignores it. */
export interface StopActivity {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
  /** Why. */
  reason: StopReason;
}

/** Which versions of a model answer from now on, whole: a later revision replaces an earlier one, an earlier one that comes late is ignored. */
export interface TrafficSplitChanged {
  /** Project. */
  project: string;
  /** Model name; the message key is project/model. */
  model: string;
  /** Rises with every change of the model; gaps are possible. */
  revision: number;
  /** Version in prod; null = none. */
  prodVersion: number | null;
  /** Version that gets a share; null = no canary runs, and with it the members below. */
  canaryVersion: number | null;
  /** Version that gets the rest. */
  baselineVersion: number | null;
  /** Share of the canary, 0 to 100. */
  weightPercent: number | null;
  /** Job of the canary: part of the sticky hash (docs/decisions/0013). */
  splitJobId: string | null;
  /** Epoch milliseconds of the newest change that this covers. */
  changedAtMs: number;
}

/** An attempt this worker runs now. */
export interface RunningAttempt {
  /** The workflow the activity belongs to; the message key. */
  workflowId: string;
  /** Unique within the workflow, e.g. `run_training`. */
  activityId: string;
  /** The fencing token: number of the attempt, from 1. */
  epoch: number;
}

/** Capacity of a worker, sent at start, every few seconds and at its end. */
export interface WorkerHeartbeat {
  /** Name of the worker, stable over restarts of its pod. */
  workerId: string;
  /** Changes at every start of the worker process. */
  incarnation: string;
  /** cpu or gpu. */
  lane: string;
  /** Attempts it can run at once; 0 = stopping. */
  slots: number;
  /** What it runs now. */
  running: RunningAttempt[];
  /** Partitions of its lane topic that it consumes. */
  partitions: number[];
  /** Device counters as JSON: name, utilisation, memory per device. */
  deviceJson: string | null;
}

/** Payload type by message type. */
export interface MessageTypes {
  ActivityCompleted: ActivityCompleted;
  ActivityDeclined: ActivityDeclined;
  ActivityFailed: ActivityFailed;
  ActivityProgressed: ActivityProgressed;
  ActivityStarted: ActivityStarted;
  ActivityYielded: ActivityYielded;
  AlertRaised: AlertRaised;
  ApprovalChanged: ApprovalChanged;
  ApprovalVoteRefused: ApprovalVoteRefused;
  ApprovalVoteRequested: ApprovalVoteRequested;
  CancelJob: CancelJob;
  CheckpointSaved: CheckpointSaved;
  DeadLetter: DeadLetter;
  ExecuteActivity: ExecuteActivity;
  JobAccepted: JobAccepted;
  JobFinished: JobFinished;
  JobRejected: JobRejected;
  JobRequested: JobRequested;
  JobStatusChanged: JobStatusChanged;
  ObservationRecorded: ObservationRecorded;
  RetrainSignalled: RetrainSignalled;
  SignalWorkflow: SignalWorkflow;
  StartWorkflow: StartWorkflow;
  StopActivity: StopActivity;
  TrafficSplitChanged: TrafficSplitChanged;
  WorkerHeartbeat: WorkerHeartbeat;
}

/** Avro schema by message type, as JSON text. */
export const MESSAGE_SCHEMAS: Readonly<Record<keyof MessageTypes, string>> = {
  ActivityCompleted: "{\"type\":\"record\",\"name\":\"ActivityCompleted\",\"namespace\":\"trainyard.v1\",\"doc\":\"An attempt ended well.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"startedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"finishedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"outputJson\",\"type\":\"string\",\"doc\":\"Output of the activity as JSON, at most 256 KiB.\"}]}",
  ActivityDeclined: "{\"type\":\"record\",\"name\":\"ActivityDeclined\",\"namespace\":\"trainyard.v1\",\"doc\":\"A worker got a command it cannot run now. Burns no attempt.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"reason\",\"type\":\"string\",\"doc\":\"NoFreeSlot, Stopping, UnknownActivity.\"}]}",
  ActivityFailed: "{\"type\":\"record\",\"name\":\"ActivityFailed\",\"namespace\":\"trainyard.v1\",\"doc\":\"An attempt failed.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"startedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"finishedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"A code of the error catalogue.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"For people, at most 4 KiB.\"},{\"name\":\"retryable\",\"type\":\"boolean\",\"doc\":\"Whether another attempt can help.\"},{\"name\":\"logTail\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"doc\":\"Last log lines of the program, at most 50.\"}]}",
  ActivityProgressed: "{\"type\":\"record\",\"name\":\"ActivityProgressed\",\"namespace\":\"trainyard.v1\",\"doc\":\"Heartbeat of a running attempt.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"step\",\"type\":\"long\",\"doc\":\"Steps done; does not grow = no progress.\"},{\"name\":\"stepsTotal\",\"type\":\"long\",\"doc\":\"0 = unknown.\"},{\"name\":\"throughput\",\"type\":[\"null\",\"double\"],\"doc\":\"Tokens per second, or what the activity counts.\",\"default\":null},{\"name\":\"deviceJson\",\"type\":[\"null\",\"string\"],\"doc\":\"Device counters as JSON: utilisation, memory.\",\"default\":null},{\"name\":\"metrics\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"MetricSample\",\"namespace\":\"trainyard.v1\",\"doc\":\"One point of a curve.\",\"fields\":[{\"name\":\"name\",\"type\":\"string\",\"doc\":\"e.g. `train.loss`.\"},{\"name\":\"step\",\"type\":\"int\",\"doc\":\"Optimiser step, from 0.\"},{\"name\":\"value\",\"type\":\"double\",\"doc\":\"The value.\"}]}},\"doc\":\"New points of the curves since the heartbeat before.\"}]}",
  ActivityStarted: "{\"type\":\"record\",\"name\":\"ActivityStarted\",\"namespace\":\"trainyard.v1\",\"doc\":\"A worker runs an attempt. Left out for attempts that end within one flush: their end says when they started.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"startedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"}]}",
  ActivityYielded: "{\"type\":\"record\",\"name\":\"ActivityYielded\",\"namespace\":\"trainyard.v1\",\"doc\":\"An attempt stopped on request after its checkpoint was stored.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"startedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"finishedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"reason\",\"type\":\"string\",\"doc\":\"Preempted, Paused or WorkerStopping.\"},{\"name\":\"step\",\"type\":[\"null\",\"long\"],\"doc\":\"Step of the checkpoint.\",\"default\":null}]}",
  AlertRaised: "{\"type\":\"record\",\"name\":\"AlertRaised\",\"namespace\":\"trainyard.v1\",\"doc\":\"Something happened that people should hear of.\",\"fields\":[{\"name\":\"alertId\",\"type\":\"string\",\"doc\":\"Dedupe key.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"kind\",\"type\":\"string\",\"doc\":\"RolledBack or SafetyFailed.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"For people.\"},{\"name\":\"detailJson\",\"type\":\"string\",\"doc\":\"What the job's answer says, as JSON.\"}]}",
  ApprovalChanged: "{\"type\":\"record\",\"name\":\"ApprovalChanged\",\"namespace\":\"trainyard.v1\",\"doc\":\"A job asks people, was answered, reminds them, or no longer asks.\",\"fields\":[{\"name\":\"approvalId\",\"type\":\"string\",\"doc\":\"What POST /v1/approvals/{id}/approve calls it.\"},{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"status\",\"type\":\"string\",\"doc\":\"open, approved, rejected, expired, voided or cancelled.\"},{\"name\":\"subjectJson\",\"type\":\"string\",\"doc\":\"What is to be reviewed: model version and digests of its reports.\"},{\"name\":\"digest\",\"type\":\"string\",\"doc\":\"SHA-256 of the subject: a vote names it.\"},{\"name\":\"votes\",\"type\":\"int\",\"doc\":\"Votes so far.\"},{\"name\":\"required\",\"type\":\"int\",\"doc\":\"Approvals needed.\"},{\"name\":\"expiresAtMs\",\"type\":\"long\",\"doc\":\"Rejected when nobody has answered by then, epoch milliseconds.\"},{\"name\":\"reminder\",\"type\":\"int\",\"doc\":\"0: something changed; n: the n-th reminder that it waits.\"}]}",
  ApprovalVoteRefused: "{\"type\":\"record\",\"name\":\"ApprovalVoteRefused\",\"namespace\":\"trainyard.v1\",\"doc\":\"An ApprovalVoteRequested did not count.\",\"fields\":[{\"name\":\"requestId\",\"type\":\"string\",\"doc\":\"Header ce_id of the request.\"},{\"name\":\"approvalId\",\"type\":\"string\",\"doc\":\"As the request named it.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"As the request named it; the message key.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"Stable error code (docs/errors.md), the same as REST answers with.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"For people.\"}]}",
  ApprovalVoteRequested: "{\"type\":\"record\",\"name\":\"ApprovalVoteRequested\",\"namespace\":\"trainyard.v1\",\"doc\":\"Public contract: another system answers an approval. The same as POST /v1/approvals/{id}/approve or /reject, with the same checks; header `authorization: Bearer <API key>` says whose vote it is. What became of it: ApprovalChanged on jobs.events when it counts, ApprovalVoteRefused when it does not.\",\"fields\":[{\"name\":\"approvalId\",\"type\":\"string\",\"doc\":\"As ApprovalChanged and GET /v1/approvals call it.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project id; the message key.\"},{\"name\":\"decision\",\"type\":\"string\",\"doc\":\"approve or reject.\"},{\"name\":\"comment\",\"type\":[\"null\",\"string\"],\"doc\":\"For people.\",\"default\":null},{\"name\":\"digest\",\"type\":\"string\",\"doc\":\"Of the ticket that was reviewed.\"}]}",
  CancelJob: "{\"type\":\"record\",\"name\":\"CancelJob\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command: stop a job. Ignored when it has ended.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"requestedBy\",\"type\":\"string\",\"doc\":\"Who asked, for the log.\"},{\"name\":\"reason\",\"type\":[\"null\",\"string\"],\"doc\":\"Free text.\",\"default\":null}]}",
  CheckpointSaved: "{\"type\":\"record\",\"name\":\"CheckpointSaved\",\"namespace\":\"trainyard.v1\",\"doc\":\"A checkpoint is complete in the object store: its manifest is written.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"step\",\"type\":\"long\",\"doc\":\"Step it was taken at.\"},{\"name\":\"manifestKey\",\"type\":\"string\",\"doc\":\"Key of its manifest.\"},{\"name\":\"digest\",\"type\":\"string\",\"doc\":\"SHA-256 of the manifest.\"}]}",
  DeadLetter: "{\"type\":\"record\",\"name\":\"DeadLetter\",\"namespace\":\"trainyard.v1\",\"doc\":\"A message that could not be processed, with its raw bytes.\",\"fields\":[{\"name\":\"topic\",\"type\":\"string\",\"doc\":\"Where it came from.\"},{\"name\":\"partition\",\"type\":\"int\",\"doc\":\"Its partition.\"},{\"name\":\"offset\",\"type\":\"long\",\"doc\":\"Its offset.\"},{\"name\":\"key\",\"type\":[\"null\",\"string\"],\"doc\":\"Its key.\",\"default\":null},{\"name\":\"headers\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Its headers.\"},{\"name\":\"value\",\"type\":\"bytes\",\"doc\":\"Its raw bytes.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"A code of the error catalogue.\"},{\"name\":\"reason\",\"type\":\"string\",\"doc\":\"What was wrong.\"},{\"name\":\"consumer\",\"type\":\"string\",\"doc\":\"Who could not read it.\"},{\"name\":\"atMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"}]}",
  ExecuteActivity: "{\"type\":\"record\",\"name\":\"ExecuteActivity\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command to a lane: run one attempt of an activity.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"For paths and logs.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"For paths and logs.\"},{\"name\":\"activity\",\"type\":\"string\",\"doc\":\"Name of the activity, e.g. `run_training`.\"},{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"The worker whose slot was taken. Another one that receives it may run it if it has a slot.\"},{\"name\":\"inputJson\",\"type\":\"string\",\"doc\":\"Input of the activity as JSON.\"},{\"name\":\"heartbeatEveryMs\",\"type\":\"int\",\"doc\":\"How often the worker reports progress.\"},{\"name\":\"deadlineAtMs\",\"type\":\"long\",\"doc\":\"Start-to-close deadline of this attempt, epoch milliseconds.\"},{\"name\":\"resumeJson\",\"type\":[\"null\",\"string\"],\"doc\":\"Newest valid checkpoint known to the log, as JSON; null on a first attempt.\",\"default\":null}]}",
  JobAccepted: "{\"type\":\"record\",\"name\":\"JobAccepted\",\"namespace\":\"trainyard.v1\",\"doc\":\"A job was accepted.\",\"fields\":[{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"jobType\",\"type\":\"string\",\"doc\":\"Type.\"},{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"Root workflow.\"},{\"name\":\"requestId\",\"type\":[\"null\",\"string\"],\"doc\":\"Header ce_id of the JobRequested that is answered; null: asked for by REST.\",\"default\":null},{\"name\":\"idempotencyKey\",\"type\":[\"null\",\"string\"],\"doc\":\"Of the job.\",\"default\":null}]}",
  JobFinished: "{\"type\":\"record\",\"name\":\"JobFinished\",\"namespace\":\"trainyard.v1\",\"doc\":\"A job reached a final status.\",\"fields\":[{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"status\",\"type\":\"string\",\"doc\":\"Final status.\"},{\"name\":\"resultJson\",\"type\":[\"null\",\"string\"],\"doc\":\"Result as JSON.\",\"default\":null},{\"name\":\"errorJson\",\"type\":[\"null\",\"string\"],\"doc\":\"Problem as JSON.\",\"default\":null}]}",
  JobRejected: "{\"type\":\"record\",\"name\":\"JobRejected\",\"namespace\":\"trainyard.v1\",\"doc\":\"A JobRequested was refused; nothing was stored. A corrected request may use the same idempotency key.\",\"fields\":[{\"name\":\"requestId\",\"type\":\"string\",\"doc\":\"Header ce_id of the request.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"As the request named it; the message key.\"},{\"name\":\"idempotencyKey\",\"type\":\"string\",\"doc\":\"As the request named it.\"},{\"name\":\"code\",\"type\":\"string\",\"doc\":\"Stable error code (docs/errors.md), the same as REST answers with.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"For people.\"},{\"name\":\"fields\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"RejectedField\",\"doc\":\"A member of the request and what is wrong with it.\",\"fields\":[{\"name\":\"pointer\",\"type\":\"string\",\"doc\":\"JSON pointer into the body that POST /v1/jobs would have had, e.g. /spec/hyperparameters/maxSteps.\"},{\"name\":\"message\",\"type\":\"string\",\"doc\":\"What is wrong there.\"}]}},\"doc\":\"Every broken rule; empty when the refusal is not about a member.\",\"default\":[]}]}",
  JobRequested: "{\"type\":\"record\",\"name\":\"JobRequested\",\"namespace\":\"trainyard.v1\",\"doc\":\"Public contract: another system asks for a job. The same as POST /v1/jobs, with the same checks; header `authorization: Bearer <API key>` says who asks. Answered on jobs.events by JobAccepted or JobRejected.\",\"fields\":[{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project id; the message key.\"},{\"name\":\"idempotencyKey\",\"type\":\"string\",\"doc\":\"Chosen by the producer: the same key with the same content is the same job, by REST too.\"},{\"name\":\"jobType\",\"type\":\"string\",\"doc\":\"fine_tune, hpo, retrain, rlhf or eval_only.\"},{\"name\":\"priority\",\"type\":[\"null\",\"string\"],\"doc\":\"low, normal, high or urgent; null: normal.\",\"default\":null},{\"name\":\"specJson\",\"type\":\"string\",\"doc\":\"The member `spec` of POST /v1/jobs, as JSON text; its schema belongs to the type (openapi.json).\"},{\"name\":\"labels\",\"type\":{\"type\":\"map\",\"values\":\"string\"},\"doc\":\"Names and values of the producer's own, to find jobs by.\",\"default\":{}},{\"name\":\"description\",\"type\":\"string\",\"doc\":\"For people.\",\"default\":\"\"}]}",
  JobStatusChanged: "{\"type\":\"record\",\"name\":\"JobStatusChanged\",\"namespace\":\"trainyard.v1\",\"doc\":\"The status of a job changed.\",\"fields\":[{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"status\",\"type\":\"string\",\"doc\":\"New status.\"},{\"name\":\"step\",\"type\":[\"null\",\"string\"],\"doc\":\"Current step of the flow.\",\"default\":null}]}",
  ObservationRecorded: "{\"type\":\"record\",\"name\":\"ObservationRecorded\",\"namespace\":\"trainyard.v1\",\"doc\":\"One prediction of a model in production.\",\"fields\":[{\"name\":\"observationId\",\"type\":\"string\",\"doc\":\"Dedupe key.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"Model name; the message key.\"},{\"name\":\"modelVersion\",\"type\":\"int\",\"doc\":\"Version that answered.\"},{\"name\":\"observedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"featuresJson\",\"type\":\"string\",\"doc\":\"Input features as JSON.\"},{\"name\":\"prediction\",\"type\":\"string\",\"doc\":\"What it answered.\"},{\"name\":\"score\",\"type\":[\"null\",\"double\"],\"doc\":\"Quality or confidence score, if known.\",\"default\":null},{\"name\":\"label\",\"type\":[\"null\",\"string\"],\"doc\":\"Truth, if known already.\",\"default\":null},{\"name\":\"routingUnit\",\"type\":[\"null\",\"string\"],\"doc\":\"Whom a canary's split dealt to a version, e.g. a digest of the user: all answers of a unit come from the same one. Null: this answer was dealt on its own, or no canary counts users.\",\"default\":null}]}",
  RetrainSignalled: "{\"type\":\"record\",\"name\":\"RetrainSignalled\",\"namespace\":\"trainyard.v1\",\"doc\":\"Public contract: a model should be trained again. The drift monitor sends it when it has decided; one that another system sends is decided first, by the budget and the running retrain of the model.\",\"fields\":[{\"name\":\"signalId\",\"type\":\"string\",\"doc\":\"Dedupe key within the project; the idempotency key of the retrain job. Letters, digits, dot, dash and underscore, at most 128.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"Model name; the message key. It needs a retrain policy.\"},{\"name\":\"modelVersion\",\"type\":[\"null\",\"int\"],\"doc\":\"Version that drifted; null: none in particular.\",\"default\":null},{\"name\":\"source\",\"type\":\"string\",\"doc\":\"drift, schedule or manual.\"},{\"name\":\"causes\",\"type\":{\"type\":\"array\",\"items\":\"string\"},\"doc\":\"Drifted features and degraded metrics, most certain first.\",\"default\":[]},{\"name\":\"detailJson\",\"type\":\"string\",\"doc\":\"Evidence as a JSON object; {} = none.\"},{\"name\":\"atMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds of the signal.\"}]}",
  SignalWorkflow: "{\"type\":\"record\",\"name\":\"SignalWorkflow\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command: something that a running workflow reacts to. Recorded and without effect when the workflow has ended or does not wait for it.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"signal\",\"type\":\"string\",\"doc\":\"pause, resume, retry, approval.vote, child.reported, child.ended, child.resumed, canary.verdict.\"},{\"name\":\"dataJson\",\"type\":\"string\",\"doc\":\"What belongs to the signal, as JSON.\"},{\"name\":\"requestedBy\",\"type\":\"string\",\"doc\":\"Who sent it, for the log: a key id, a workflow id, a service.\"}]}",
  StartWorkflow: "{\"type\":\"record\",\"name\":\"StartWorkflow\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command: run a workflow for an accepted job. A second one with the same workflow id is a no-op.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"`wf-<type>-<project>.<idempotencyKey>`; the message key.\"},{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"The job this workflow is the root of.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project id.\"},{\"name\":\"jobType\",\"type\":\"string\",\"doc\":\"fine_tune, hpo, retrain, rlhf or eval_only.\"},{\"name\":\"priority\",\"type\":\"int\",\"doc\":\"0 low, 1 normal, 2 high, 3 urgent.\"},{\"name\":\"submittedAtMs\",\"type\":\"long\",\"doc\":\"When the job was accepted, epoch milliseconds: the order within a priority.\"},{\"name\":\"inputJson\",\"type\":\"string\",\"doc\":\"Input of the machine as JSON: the spec with every reference resolved.\"},{\"name\":\"parentJson\",\"type\":[\"null\",\"string\"],\"doc\":\"The workflow that started this one as its child, as JSON {workflowId, childId, reports}; null: a job somebody asked for.\",\"default\":null},{\"name\":\"submittedBy\",\"type\":[\"null\",\"string\"],\"doc\":\"Who asked for the job: a key id. Nobody approves a job of their own.\",\"default\":null}]}",
  StopActivity: "{\"type\":\"record\",\"name\":\"StopActivity\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command to all workers: end an attempt. A worker that does not run it ignores it.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"},{\"name\":\"reason\",\"type\":{\"type\":\"enum\",\"name\":\"StopReason\",\"namespace\":\"trainyard.v1\",\"symbols\":[\"Cancelled\",\"Preempted\",\"Paused\",\"Revoked\"],\"doc\":\"Cancelled and Revoked: stop at once. Preempted and Paused: checkpoint, then yield.\"},\"doc\":\"Why.\"}]}",
  TrafficSplitChanged: "{\"type\":\"record\",\"name\":\"TrafficSplitChanged\",\"namespace\":\"trainyard.v1\",\"doc\":\"Which versions of a model answer from now on, whole: a later revision replaces an earlier one, an earlier one that comes late is ignored.\",\"fields\":[{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"Model name; the message key is project/model.\"},{\"name\":\"revision\",\"type\":\"long\",\"doc\":\"Rises with every change of the model; gaps are possible.\"},{\"name\":\"prodVersion\",\"type\":[\"null\",\"int\"],\"default\":null,\"doc\":\"Version in prod; null = none.\"},{\"name\":\"canaryVersion\",\"type\":[\"null\",\"int\"],\"default\":null,\"doc\":\"Version that gets a share; null = no canary runs, and with it the members below.\"},{\"name\":\"baselineVersion\",\"type\":[\"null\",\"int\"],\"default\":null,\"doc\":\"Version that gets the rest.\"},{\"name\":\"weightPercent\",\"type\":[\"null\",\"double\"],\"default\":null,\"doc\":\"Share of the canary, 0 to 100.\"},{\"name\":\"splitJobId\",\"type\":[\"null\",\"string\"],\"default\":null,\"doc\":\"Job of the canary: part of the sticky hash (docs/decisions/0013).\"},{\"name\":\"changedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds of the newest change that this covers.\"}]}",
  WorkerHeartbeat: "{\"type\":\"record\",\"name\":\"WorkerHeartbeat\",\"namespace\":\"trainyard.v1\",\"doc\":\"Capacity of a worker, sent at start, every few seconds and at its end.\",\"fields\":[{\"name\":\"workerId\",\"type\":\"string\",\"doc\":\"Name of the worker, stable over restarts of its pod.\"},{\"name\":\"incarnation\",\"type\":\"string\",\"doc\":\"Changes at every start of the worker process.\"},{\"name\":\"lane\",\"type\":\"string\",\"doc\":\"cpu or gpu.\"},{\"name\":\"slots\",\"type\":\"int\",\"doc\":\"Attempts it can run at once; 0 = stopping.\"},{\"name\":\"running\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"RunningAttempt\",\"namespace\":\"trainyard.v1\",\"doc\":\"An attempt this worker runs now.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"The workflow the activity belongs to; the message key.\"},{\"name\":\"activityId\",\"type\":\"string\",\"doc\":\"Unique within the workflow, e.g. `run_training`.\"},{\"name\":\"epoch\",\"type\":\"int\",\"doc\":\"The fencing token: number of the attempt, from 1.\"}]}},\"doc\":\"What it runs now.\"},{\"name\":\"partitions\",\"type\":{\"type\":\"array\",\"items\":\"int\"},\"doc\":\"Partitions of its lane topic that it consumes.\"},{\"name\":\"deviceJson\",\"type\":[\"null\",\"string\"],\"doc\":\"Device counters as JSON: name, utilisation, memory per device.\",\"default\":null}]}",
};

/** Avro schemas of former releases that differ from the ones above, as JSON texts: writers of messages that may still come. */
export const FORMER_SCHEMAS: readonly string[] = [
  "{\"type\":\"record\",\"name\":\"JobAccepted\",\"namespace\":\"trainyard.v1\",\"doc\":\"A job was accepted.\",\"fields\":[{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"Job.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Message key.\"},{\"name\":\"jobType\",\"type\":\"string\",\"doc\":\"Type.\"},{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"Root workflow.\"}]}",
  "{\"type\":\"record\",\"name\":\"ObservationRecorded\",\"namespace\":\"trainyard.v1\",\"doc\":\"One prediction of a model in production.\",\"fields\":[{\"name\":\"observationId\",\"type\":\"string\",\"doc\":\"Dedupe key.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project.\"},{\"name\":\"model\",\"type\":\"string\",\"doc\":\"Model name; the message key.\"},{\"name\":\"modelVersion\",\"type\":\"int\",\"doc\":\"Version that answered.\"},{\"name\":\"observedAtMs\",\"type\":\"long\",\"doc\":\"Epoch milliseconds.\"},{\"name\":\"featuresJson\",\"type\":\"string\",\"doc\":\"Input features as JSON.\"},{\"name\":\"prediction\",\"type\":\"string\",\"doc\":\"What it answered.\"},{\"name\":\"score\",\"type\":[\"null\",\"double\"],\"doc\":\"Quality or confidence score, if known.\",\"default\":null},{\"name\":\"label\",\"type\":[\"null\",\"string\"],\"doc\":\"Truth, if known already.\",\"default\":null}]}",
  "{\"type\":\"record\",\"name\":\"StartWorkflow\",\"namespace\":\"trainyard.v1\",\"doc\":\"Command: run a workflow for an accepted job. A second one with the same workflow id is a no-op.\",\"fields\":[{\"name\":\"workflowId\",\"type\":\"string\",\"doc\":\"`wf-<type>-<project>.<idempotencyKey>`; the message key.\"},{\"name\":\"jobId\",\"type\":\"string\",\"doc\":\"The job this workflow is the root of.\"},{\"name\":\"project\",\"type\":\"string\",\"doc\":\"Project id.\"},{\"name\":\"jobType\",\"type\":\"string\",\"doc\":\"fine_tune, hpo, retrain, rlhf or eval_only.\"},{\"name\":\"priority\",\"type\":\"int\",\"doc\":\"0 low, 1 normal, 2 high, 3 urgent.\"},{\"name\":\"submittedAtMs\",\"type\":\"long\",\"doc\":\"When the job was accepted, epoch milliseconds: the order within a priority.\"},{\"name\":\"inputJson\",\"type\":\"string\",\"doc\":\"Input of the machine as JSON: the spec with every reference resolved.\"}]}",
];
