import type { JobType } from '#lib/contracts/jobs.ts';
import { type Activity, hasRewardModel, type Job, type Lane, modelOf } from './api-answers.ts';

/** What the API said about a job at one moment. */
export interface JobSnapshot {
  readonly job: Job;
  readonly activities: readonly Activity[];
  readonly gpuLane: Lane | null;
  readonly atMs: number;
}

export type StepState = 'pending' | 'waiting' | 'active' | 'done' | 'failed';

/** One of the steps of the flow. */
export interface FlowStep {
  readonly number: number;
  readonly lane: 'client' | 'gateway' | 'CPU' | 'GPU' | '';
  readonly name: string;
  readonly state: StepState;
  /** Time in the lane, ms; null where none is measured. */
  readonly tookMs: number | null;
  /** `attempt 2`, or why it waits. */
  readonly note: string | null;
}

/** What the current activity reports about itself. */
export interface Work {
  readonly step: number;
  readonly stepsTotal: number;
  readonly loss: number | null;
  readonly tokensPerSecond: number | null;
  readonly etaMs: number | null;
}

export interface JobProgress {
  readonly heading: string;
  readonly model: string;
  readonly status: string;
  readonly elapsedMs: number;
  readonly steps: readonly FlowStep[];
  readonly work: Work | null;
  /** The slot of the GPU lane that the job holds, of how many are in use. */
  readonly gpuSlot: {
    readonly slot: number;
    readonly worker: string;
    readonly inUse: number;
    readonly slots: number;
  } | null;
  /** First report of the current attempt: the speed is measured from there. */
  readonly measuredFrom: { readonly attempt: string; readonly step: number; readonly atMs: number } | null;
}

type LaneStep = readonly ['CPU' | 'GPU', string];

/**
 * The activities of each flow between its dispatch and its end, with their lanes; those of `fine_tune` are steps 5 to 11 of "Data Flow: Fine-Tune
 * Job" in the platform's design. A search's trials are jobs of their own.
 */
const ACTIVITY_STEPS: Readonly<Record<JobType, readonly LaneStep[]>> = {
  fine_tune: [
    ['CPU', 'validate_dataset'],
    ['CPU', 'preprocess_data'],
    ['CPU', 'prepare_workspace'],
    ['GPU', 'run_training'],
    ['CPU', 'upload_artifacts'],
    ['GPU', 'run_evaluation'],
    ['CPU', 'register_model'],
  ],
  eval_only: [
    ['GPU', 'evaluate_models'],
    ['CPU', 'attach_report'],
  ],
  rlhf: [
    ['CPU', 'validate_preference_data'],
    ['CPU', 'preprocess_preferences'],
    ['GPU', 'train_reward_model'],
    ['GPU', 'run_alignment_training'],
    ['GPU', 'run_safety_evaluation'],
    ['GPU', 'run_quality_evaluation'],
    ['CPU', 'register_aligned_model'],
  ],
  hpo: [
    ['CPU', 'select_best_trial'],
    ['GPU', 'evaluate_best'],
    ['CPU', 'register_model'],
  ],
  retrain: [
    ['CPU', 'assemble_training_data'],
    ['GPU', 'compare_with_champion'],
    ['CPU', 'attach_report'],
  ],
};
const FIRST_ACTIVITY = 5;

const activitySteps = (job: Job): readonly LaneStep[] =>
  ACTIVITY_STEPS[job.type].filter(
    ([, name]) => name !== 'train_reward_model' || job.type !== 'rlhf' || hasRewardModel(job),
  );

/** The progress after a snapshot; `before` is the one before of the same job. */
export function advance(before: JobProgress | null, snapshot: JobSnapshot, heading: string): JobProgress {
  const { job, activities, atMs } = snapshot;
  const current = activities.find(({ state }) => state === 'running') ?? null;
  const measuredFrom = measureFrom(before?.measuredFrom ?? null, current);
  return {
    heading,
    model: modelOf(job),
    status: job.status,
    elapsedMs: (job.finishedAt === null ? atMs : Date.parse(job.finishedAt)) - Date.parse(job.submittedAt),
    steps: flowSteps(snapshot),
    work: workOf(current, measuredFrom),
    gpuSlot: gpuSlotOf(current, snapshot.gpuLane),
    measuredFrom,
  };
}

const ENDED_WELL = 'COMPLETED';

function flowSteps({ job, activities, atMs }: JobSnapshot): FlowStep[] {
  const started = job.startedAt !== null || activities.length > 0;
  const ended = job.finishedAt !== null;
  const own = activitySteps(job);
  const early = (number: number, lane: FlowStep['lane'], name: string, done: boolean): FlowStep => ({
    number,
    lane,
    name,
    state: done ? 'done' : 'active',
    tookMs: null,
    note: null,
  });
  return [
    early(1, 'client', 'POST /v1/jobs', true),
    early(2, 'gateway', 'check schema, quota and idempotency', true),
    early(3, 'gateway', 'store the job as SUBMITTED', true),
    early(4, 'gateway', `dispatch the workflow ${job.type}`, started),
    ...own.map(([lane, name], index): FlowStep => {
      const number = FIRST_ACTIVITY + index;
      const activity = activities.find((candidate) => candidate.name === name);
      if (activity === undefined) return { number, lane, name, state: 'pending', tookMs: null, note: null };
      const { queuedAt, startedAt, endedAt } = activity;
      const tookMs = (endedAt === null ? atMs : Date.parse(endedAt)) - Date.parse(startedAt ?? queuedAt);
      return {
        number,
        lane,
        name,
        state: stepState(activity.state),
        tookMs: Math.max(0, tookMs),
        note: noteOf(activity),
      };
    }),
    {
      number: FIRST_ACTIVITY + own.length,
      lane: '',
      name: ended ? `status ${job.status}` : 'status COMPLETED',
      state: ended ? (job.status === ENDED_WELL ? 'done' : 'failed') : 'pending',
      tookMs: null,
      note: null,
    },
  ];
}

/** Whatever is neither running nor over waits: for a slot, for a worker's word, for its next attempt. */
function stepState(activity: string): StepState {
  if (activity === 'done') return 'done';
  if (activity === 'running') return 'active';
  return activity === 'failed' || activity === 'cancelled' ? 'failed' : 'waiting';
}

function noteOf({ state, epoch, waitReason }: Activity): string | null {
  if (stepState(state) === 'waiting' && waitReason !== null) return waitReason;
  return epoch > 1 ? `attempt ${epoch}` : null;
}

function measureFrom(before: JobProgress['measuredFrom'], current: Activity | null): JobProgress['measuredFrom'] {
  if (current?.progress == null) return null;
  const attempt = `${current.name}/${current.epoch}`;
  if (before?.attempt === attempt) return before;
  return { attempt, step: current.progress.step, atMs: current.progress.atMs };
}

function workOf(current: Activity | null, from: JobProgress['measuredFrom']): Work | null {
  if (current?.progress == null || current.progress.stepsTotal === 0) return null;
  const { step, stepsTotal, throughput, device, atMs } = current.progress;
  const done = step - (from?.step ?? step);
  const etaMs = done > 0 && from !== null ? ((atMs - from.atMs) / done) * (stepsTotal - step) : null;
  return { step, stepsTotal, loss: device?.loss ?? null, tokensPerSecond: throughput, etaMs };
}

function gpuSlotOf(current: Activity | null, lane: Lane | null): JobProgress['gpuSlot'] {
  if (current === null || current.lane !== 'gpu') return null;
  return {
    slot: current.progress?.device?.slot ?? 0,
    worker: current.workerId ?? '',
    inUse: lane?.running ?? 1,
    slots: lane?.slots ?? 1,
  };
}
