import type { ActivityInput, ActivityName, ActivityOutput } from '#lib/contracts/activities.ts';
import type { JobStatus, JobType } from '#lib/contracts/jobs.ts';
import type { ApprovalPolicy, ApprovalSubject, CanarySettings } from '#lib/contracts/release.ts';
import type { ActivityFailure, Lane } from '../activity-ledger.ts';
import type { ApprovalOutcome, ApprovalRequest } from '../approval.ts';
import type { WorkflowSignal } from '../signals.ts';

/** How a child ended. */
export interface ChildEnd {
  readonly jobId: string;
  readonly status: JobStatus;
  readonly result: unknown;
  readonly error: unknown;
  readonly gpuSeconds: number;
}

export type CanaryOutcome = 'pass' | 'fail' | 'inconclusive';

/** What a machine remembers: its input, the output of every activity that is done, how its children ended. */
export interface WorkflowContext<Input> {
  readonly input: Input;
  /** By activity id, which is the activity's name unless a step runs under another one. */
  readonly outputs: { readonly [A in ActivityName]?: ActivityOutput<A> };
  readonly failure: ActivityFailure | null;
  /** By child id; absent until the first one ended. */
  readonly children?: Readonly<Record<string, ChildEnd>>;
  /** What coordinators remember, by the name of their state in the machine; `end` once they are through. */
  readonly coordination?: Readonly<Record<string, { readonly state: unknown; readonly end?: ActivityFailure | null }>>;
  /** How each ticket ended. */
  readonly approvals?: Readonly<Record<string, ApprovalOutcome>>;
  readonly canary?: { readonly outcome: CanaryOutcome; readonly reports: readonly unknown[] };
}

/** What a machine is told. Retries, leases and epochs never reach it. */
export type WorkflowEvent =
  | { readonly type: 'activity.done'; readonly activity: string; readonly output: unknown }
  | { readonly type: 'activity.failed'; readonly activity: string; readonly failure: ActivityFailure }
  | { readonly type: 'signal'; readonly signal: WorkflowSignal }
  | { readonly type: 'approval.decided'; readonly approval: string; readonly outcome: ApprovalOutcome }
  | { readonly type: 'cancel' }
  | { readonly type: 'timeout' }
  | { readonly type: 'timer'; readonly name: string };

/** What a machine asks for; the names of its actions. */
export type WorkflowAction =
  | { readonly type: 'startActivity'; readonly params: StartActivityParams }
  | { readonly type: 'startChild'; readonly params: StartChildParams }
  | { readonly type: 'signalChild'; readonly params: SignalChildParams }
  | { readonly type: 'requestApproval'; readonly params: ApprovalRequest }
  | { readonly type: 'promote'; readonly params: PromoteParams }
  | { readonly type: 'startCanary'; readonly params: StartCanaryParams }
  | { readonly type: 'endCanary'; readonly params: { readonly model: string; readonly outcome: string } }
  | { readonly type: 'setTimer'; readonly params: { readonly name: string; readonly afterMs: number } }
  | { readonly type: 'cancelTimer'; readonly params: { readonly name: string } }
  | { readonly type: 'finish'; readonly params: FinishParams };

export interface StartActivityParams {
  readonly activityId: string;
  readonly name: string;
  readonly lane: Lane;
  readonly input: unknown;
  readonly startToCloseMs: number;
}

export interface StartChildParams {
  /** Unique within the workflow: letters, digits, dashes. */
  readonly childId: string;
  readonly jobType: JobType;
  /** Input of the child's machine without `jobId` and `project`, which the engine adds. Has a member `spec`. */
  readonly input: { readonly spec: unknown };
  /** The metric whose points come back as `child.reported`; null = none. */
  readonly reports: string | null;
}

export interface SignalChildParams {
  readonly childId: string;
  readonly signal: 'pause' | 'resume' | 'cancel';
  readonly reason: string;
}

export interface PromoteParams {
  readonly model: string;
  readonly version: number;
  readonly stage: 'staging' | 'prod' | 'archived';
  readonly reason: string;
}

export interface StartCanaryParams {
  readonly model: string;
  readonly version: number;
  /** The version in production that it is compared with. */
  readonly baseline: number;
  readonly settings: CanarySettings;
}

export interface FinishParams {
  readonly status: JobStatus;
  readonly result: unknown;
  readonly failure: ActivityFailure | null;
}

/** A reducer that runs a state of many activities and children: what a search does between its first trial and its last. */
export interface Coordinator<Input, State> {
  readonly start: (context: WorkflowContext<Input>) => Coordination<State>;
  readonly handle: (context: WorkflowContext<Input>, state: State, event: WorkflowEvent) => Coordination<State>;
}

export interface Coordination<State> {
  /** Plain JSON; kept in the machine's context. */
  readonly state: State;
  readonly actions: readonly WorkflowAction[];
  /** Present at the end: null when it went well. */
  readonly end?: ActivityFailure | null;
}

export interface Branch<Input> {
  readonly when?: (context: WorkflowContext<Input>) => boolean;
  readonly to: string;
}

/** Next state; or branches, the first whose condition holds, the last without condition. */
export type Next<Input> = string | readonly Branch<Input>[];

type From<Input, T> = (context: WorkflowContext<Input>) => T;

export interface Step<Input> {
  readonly kind: 'runs';
  readonly activity: string;
  readonly as: string;
  readonly lane: Lane;
  readonly startToClose: string;
  readonly input: From<Input, unknown>;
  readonly onDone: Next<Input>;
}
export interface Delegation<Input> {
  readonly kind: 'delegates';
  readonly jobType: JobType;
  readonly as: string;
  readonly input: From<Input, { readonly spec: unknown }>;
  readonly onEnded: Next<Input>;
}
export interface Coordinated<Input> {
  readonly kind: 'coordinates';
  readonly coordinator: Coordinator<Input, unknown>;
  readonly onDone: Next<Input>;
}
export interface Choice<Input> {
  readonly kind: 'chooses';
  readonly next: readonly Branch<Input>[];
}
export interface Wait {
  readonly kind: 'waits';
  readonly timer: string;
  readonly for: string;
  readonly onFired: string;
}
export interface Question<Input> {
  readonly kind: 'asks';
  readonly approval: string;
  readonly subject: From<Input, ApprovalSubject>;
  readonly policy: From<Input, ApprovalPolicy>;
  readonly onApproved: string;
  readonly onRefused: string;
  /** What becomes of a version that waits for the answer when a cancel or a time-out comes first; absent: nothing. */
  readonly ifCutOff?: From<Input, PromoteParams>;
}
export interface Promotion<Input> {
  readonly kind: 'promotes';
  readonly version: From<Input, PromoteParams>;
  readonly onDone: string;
}
export interface Canary<Input> {
  readonly kind: 'watches';
  readonly canary: From<Input, StartCanaryParams>;
  readonly onPass: string;
  readonly onFail: string;
  readonly onInconclusive: Next<Input>;
}
export interface End<Input> {
  readonly kind: 'ends';
  readonly status: JobStatus;
  readonly result: From<Input, unknown>;
}

export type StateDeclaration<Input> =
  | Step<Input>
  | Delegation<Input>
  | Coordinated<Input>
  | Choice<Input>
  | Wait
  | Question<Input>
  | Promotion<Input>
  | Canary<Input>
  | End<Input>;

/** The words of one workflow's flow, typed by its input. */
export interface Vocabulary<Input> {
  /** Runs one activity on a lane; its output is kept in `outputs` under the activity's name. */
  readonly runs: <A extends ActivityName>(
    activity: A,
    options: {
      readonly lane: Lane;
      /** Longest run of one attempt: `30m`, `24h`. */
      readonly startToClose: string;
      readonly input: (context: WorkflowContext<Input>) => ActivityInput<A>;
      readonly onDone: Next<Input>;
    },
  ) => StateDeclaration<Input>;
  /** Runs a child workflow to its end; how it ended is kept in `children` under `as`. */
  readonly delegates: (
    jobType: JobType,
    options: {
      readonly as: string;
      readonly input: From<Input, { readonly spec: unknown }>;
      readonly onEnded: Next<Input>;
    },
  ) => StateDeclaration<Input>;
  /** Hands the flow to a reducer until it says that it has come to an end. A failed end leads to `failed`. */
  readonly coordinates: <State>(
    coordinator: Coordinator<Input, State>,
    options: { readonly onDone: Next<Input> },
  ) => StateDeclaration<Input>;
  /** Goes on at once, by what is known. */
  readonly chooses: (...branches: readonly Branch<Input>[]) => StateDeclaration<Input>;
  /** Waits for a durable timer. */
  readonly waits: (options: Omit<Wait, 'kind'>) => StateDeclaration<Input>;
  /** Asks people; the job is AWAITING_APPROVAL meanwhile. `onRefused`: rejected, expired or voided. */
  readonly asks: (options: Omit<Question<Input>, 'kind'>) => StateDeclaration<Input>;
  /** Writes a promotion into the ledger, in the transaction that appends the fact that led here. */
  readonly promotes: (
    version: From<Input, PromoteParams>,
    options: { readonly onDone: string },
  ) => StateDeclaration<Input>;
  /** Gives a version a share of the traffic and waits for the verdict; the job is CANARY meanwhile. */
  readonly watches: (
    canary: From<Input, StartCanaryParams>,
    options: Omit<Canary<Input>, 'kind' | 'canary'>,
  ) => StateDeclaration<Input>;
  /** The end of the flow, with the job's final status and result. */
  readonly ends: (status: JobStatus, result?: From<Input, unknown>) => StateDeclaration<Input>;
}
