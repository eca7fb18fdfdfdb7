import { performance } from 'node:perf_hooks';
import type { Send } from '../messages.ts';

/** At most one `step` line in this time: a worker needs liveness, not every step of 3 ms. */
const STEP_LINE_MS = 250;

/** Points of the `train.loss` curve of a run. */
const CURVE_POINTS = 200;

export interface CurveState {
  sum: number;
  count: number;
  latest: number | null;
}

/**
 * A curve of a metric of training, such as the loss: means over equal numbers of steps, at most 200 points a run. Points are cut by step and never by
 * time, so that two runs of one spec print the same lines; an unfinished point travels in the checkpoint.
 */
export class LossCurve {
  readonly state: CurveState;
  private readonly stepsPerPoint: number;
  private readonly maxSteps: number;

  /** Points are cut at multiples of `unit` steps only (default 1). */
  constructor(maxSteps: number, { unit = 1, state }: { unit?: number; state?: CurveState } = {}) {
    this.maxSteps = maxSteps;
    this.stepsPerPoint = Math.ceil(maxSteps / unit / CURVE_POINTS) * unit;
    this.state = { ...(state ?? { sum: 0, count: 0, latest: null }) };
  }

  /** Returns the mean when `step` finishes a point. */
  add(step: number, loss: number): number | undefined {
    const { state } = this;
    state.sum += loss;
    state.count += 1;
    if (step % this.stepsPerPoint !== 0 && step !== this.maxSteps) return undefined;
    state.latest = state.sum / state.count;
    state.sum = 0;
    state.count = 0;
    return state.latest;
  }
}

export interface StepReport {
  readonly step: number;
  readonly loss?: number;
  readonly learningRate?: number;
  readonly gradientNorm?: number;
  readonly tokens: number;
}

/** Prints `step` lines: the first and last of a process and otherwise at most one every 250 ms. */
export class StepLines {
  private readonly send: Send;
  private readonly stepsTotal: number;
  private printedAt = Number.NEGATIVE_INFINITY;
  private printedStep = -1;
  private stepStartedAt = performance.now();
  private tokensSince = 0;
  private countingSince = performance.now();

  constructor(send: Send, stepsTotal: number) {
    this.send = send;
    this.stepsTotal = stepsTotal;
  }

  /** To be called when a step begins, so that validation and checkpoints do not count as step time. */
  begin(): void {
    this.stepStartedAt = performance.now();
  }

  end({ tokens, ...report }: StepReport): void {
    const now = performance.now();
    this.tokensSince += tokens;
    const isLast = report.step === this.stepsTotal && this.printedStep !== report.step;
    if (now - this.printedAt < STEP_LINE_MS && !isLast) return;
    const seconds = (now - this.countingSince) / 1000;
    this.send({
      type: 'step',
      stepsTotal: this.stepsTotal,
      ...report,
      ...(tokens > 0 && seconds > 0 ? { tokensPerSecond: Math.round(this.tokensSince / seconds) } : {}),
      stepMs: Math.round((now - this.stepStartedAt) * 100) / 100,
    });
    this.printedAt = now;
    this.printedStep = report.step;
    this.countingSince = now;
    this.tokensSince = 0;
  }
}
