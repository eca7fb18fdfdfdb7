import type { TSchema } from '#typebox';
import { Value } from '#typebox/value';
import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import { InvariantViolation, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import {
  type Activity,
  type ActivityContext,
  ActivityError,
  type EndReason,
  type MetricPoint,
  mustAbandon,
  type Progress,
  type ResumePoint,
  YieldedError,
} from './activity.ts';

/** Metric points that wait for the next heartbeat; more would make a message too large, the oldest are kept. */
const MAX_PENDING_METRICS = 2_000;

/** Bytes of JSON an activity may return: it becomes part of an event of the log. */
const MAX_OUTPUT_BYTES = 262_144;

const MAX_MESSAGE_CHARACTERS = 4_096;
const MAX_LOG_LINES = 50;
const MAX_LOG_LINE_CHARACTERS = 500;

/** How an attempt ended. */
export type AttemptEnd =
  | { readonly kind: 'completed'; readonly outputJson: string }
  | { readonly kind: 'yielded'; readonly reason: string; readonly step: number | null }
  | {
      readonly kind: 'failed';
      readonly code: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly logTail: string[];
    };

/** One attempt in a worker: its progress, and its way to an end. */
export class Attempt {
  readonly command: ExecuteActivity;
  readonly startedAtMs: number;
  nextHeartbeatAtMs: number;
  #progress: Progress = { step: 0, stepsTotal: 0 };
  #metrics: MetricPoint[] = [];
  readonly #abort = new AbortController();

  constructor(command: ExecuteActivity, startedAtMs: number) {
    this.command = command;
    this.startedAtMs = startedAtMs;
    this.nextHeartbeatAtMs = startedAtMs + command.heartbeatEveryMs;
  }

  end(reason: EndReason): void {
    this.#abort.abort(reason);
  }

  /** Nobody waits for its end any more: it was cancelled, or another attempt has its work. */
  get isAbandoned(): boolean {
    return mustAbandon(this.#abort.signal);
  }

  /** What the next heartbeat says; pending metrics are handed over. */
  takeProgress(): { progress: Progress; metrics: MetricPoint[] } {
    const metrics = this.#metrics;
    this.#metrics = [];
    return { progress: this.#progress, metrics };
  }

  get hasMetrics(): boolean {
    return this.#metrics.length > 0;
  }

  /** Runs the activity. Never rejects. */
  async run(
    activity: Activity,
    report: (checkpoint: { step: number; manifestKey: string; digest: string }) => void,
  ): Promise<AttemptEnd> {
    try {
      const output = await activity.run(this.#context(activity, report));
      if (activity.output !== undefined) refuseWrongOutput(activity.output, output);
      return completed(output);
    } catch (error) {
      if (error instanceof YieldedError)
        return { kind: 'yielded', reason: error.reason ?? String(this.#abort.signal.reason ?? ''), step: error.step };
      // Asked to stop with its work unfinished, and it did: whatever it threw on the way is not a failure of the work.
      if (this.#abort.signal.aborted && !mustAbandon(this.#abort.signal))
        return { kind: 'yielded', reason: String(this.#abort.signal.reason), step: null };
      return failed(error);
    }
  }

  #context(
    activity: Activity,
    report: (checkpoint: { step: number; manifestKey: string; digest: string }) => void,
  ): ActivityContext {
    const { workflowId, activityId, epoch, jobId, project, inputJson, resumeJson } = this.command;
    const input: unknown = JSON.parse(inputJson);
    if (activity.input !== undefined) refuseWrongInput(activity.input, input);
    return {
      workflowId,
      activityId,
      epoch,
      jobId,
      project,
      input,
      resume: resumeJson === null ? null : (JSON.parse(resumeJson) as ResumePoint),
      signal: this.#abort.signal,
      progress: (progress) => {
        this.#progress = { ...this.#progress, ...progress };
      },
      metrics: (points) => {
        this.#metrics.push(...points.slice(0, MAX_PENDING_METRICS - this.#metrics.length));
      },
      checkpointSaved: report,
    };
  }
}

function refuseWrongInput(schema: TSchema, input: unknown): void {
  if (Value.Check(schema, input)) return;
  const fields = Value.Errors(schema, input).map((error) => ({ pointer: error.instancePath, message: error.message }));
  const [first] = fields;
  const where = `${first?.pointer ?? '/'}: ${first?.message ?? ''}`;
  throw new TrainyardError('ValidationFailed', `the input of the activity is wrong at ${where}`, { fields });
}

function refuseWrongOutput(schema: TSchema, output: unknown): void {
  if (Value.Check(schema, output)) return;
  const [first] = Value.Errors(schema, output);
  throw new InvariantViolation(
    `the activity answered wrongly at ${first?.instancePath ?? '/'}: ${first?.message ?? ''}`,
  );
}

function completed(output: unknown): AttemptEnd {
  const outputJson = JSON.stringify(output ?? null, storable);
  if (Buffer.byteLength(outputJson) > MAX_OUTPUT_BYTES)
    return failed(new InvariantViolation(`the activity returned more than ${MAX_OUTPUT_BYTES} bytes`));
  return { kind: 'completed', outputJson };
}

/** PostgreSQL's JSON holds neither NUL nor half a surrogate pair, and a generated text may hold both: the output would never be taken. */
const storable = (_: string, value: unknown): unknown =>
  typeof value === 'string' ? value.replaceAll('\u0000', '').toWellFormed() : value;

function failed(error: unknown): AttemptEnd {
  const text = (value: string, limit: number): string => value.replaceAll('\u0000', '').slice(0, limit);
  const message = text(messageOf(error), MAX_MESSAGE_CHARACTERS);
  if (error instanceof ActivityError) {
    const logTail = error.logTail.slice(-MAX_LOG_LINES).map((line) => text(line, MAX_LOG_LINE_CHARACTERS));
    return { kind: 'failed', code: error.code, message, retryable: error.retryable, logTail };
  }
  if (error instanceof TrainyardError) {
    // What is wrong one by one (the malformed lines of a dataset): the message names only the first.
    const logTail = error.fields
      .slice(0, MAX_LOG_LINES)
      .map(({ pointer, message: fault }) => text(`${pointer}: ${fault}`, MAX_LOG_LINE_CHARACTERS));
    return { kind: 'failed', code: error.code, message, retryable: error.retryable, logTail };
  }
  // A bug of ours: another attempt may meet a fixed release; the stack helps who reads the job's answer.
  const stack = error instanceof Error ? (error.stack ?? '').split('\n').slice(0, MAX_LOG_LINES) : [];
  return {
    kind: 'failed',
    code: 'Internal',
    message,
    retryable: true,
    logTail: stack.map((line) => text(line, MAX_LOG_LINE_CHARACTERS)),
  };
}
