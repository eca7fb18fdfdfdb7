import { join, resolve } from 'node:path';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { TrainingHyperparameters } from '#lib/contracts/trainer-protocol.ts';
import {
  checkpointName,
  type CheckpointTensors,
  loadCheckpoint,
  type RunState,
  saveCheckpoint,
} from '../checkpoint.ts';
import { AdamW, clipScale, norm } from '../optim/adamw.ts';
import { learningRateAt } from '../optim/schedule.ts';
import type { Objective } from './objective.ts';
import { type CurveState, LossCurve } from './progress.ts';

export interface StepResult {
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** Curve points that this step finished, by metric name. */
  readonly points: Readonly<Record<string, number>>;
}

/** What a run needs to know besides its objective. */
export interface RunSettings {
  readonly maxSteps: number;
  readonly optimiser: Pick<
    TrainingHyperparameters,
    'learningRate' | 'warmupSteps' | 'minLearningRateRatio' | 'weightDecay' | 'beta1' | 'beta2' | 'gradientClip'
  >;
  readonly checkpointDir: string;
  /** Equal digests = the same run: what checkpoints are checked against. */
  readonly configDigest: string;
}

const TRAIN_LOSS = 'train.loss';

/**
 * One training run between two optimiser steps. Its whole state is: the trainable tensors, two moments, the objective's extra
 * tensors, and the `RunState` of a checkpoint; nothing in it depends on time, so resuming continues bit for bit.
 */
export class TrainingRun {
  /** Optimiser steps done. */
  step = 0;
  private readonly settings: RunSettings;
  private readonly objective: Objective;
  private readonly optimiser: AdamW;
  private curves = new Map<string, LossCurve>();
  private saved: { step: number; dir: string } | undefined;

  constructor(settings: RunSettings, objective: Objective) {
    this.settings = settings;
    this.objective = objective;
    this.optimiser = new AdamW(objective.trainable, settings.optimiser);
    this.curves.set(TRAIN_LOSS, this.newCurve());
  }

  /** The newest finished point of the training-loss curve; null before the first. */
  get latestLoss(): number | null {
    return this.curves.get(TRAIN_LOSS)?.state.latest ?? null;
  }

  /** One optimiser step. Throws `NonFiniteLoss` before any weight changes. */
  async advance(): Promise<StepResult> {
    const { optimiser: settings, maxSteps } = this.settings;
    const step = this.step + 1;
    const { loss, gradients, scale, metrics } = await this.objective.gradients(step);
    const gradientNorm = norm(gradients) * scale;
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      const message = `step ${step}: loss ${loss}, gradient norm ${gradientNorm}`;
      throw new TrainyardError('NonFiniteLoss', message, { details: { step } });
    }
    const learningRate = learningRateAt(step, { ...settings, maxSteps });
    this.optimiser.update(gradients, scale * clipScale(gradientNorm, settings.gradientClip), learningRate, step);
    this.step = step;
    return { loss, learningRate, gradientNorm, points: this.addToCurves({ [TRAIN_LOSS]: loss, ...metrics }) };
  }

  /**
   * Writes a checkpoint of the state after the last step and returns its folder. A step is written once: whoever read its
   * `checkpoint` line may be uploading it.
   */
  async save(): Promise<string> {
    if (this.saved?.step === this.step) return this.saved.dir;
    const { [TRAIN_LOSS]: curve, ...others } = Object.fromEntries(
      [...this.curves].map(([name, { state }]) => [name, state]),
    );
    const state: RunState = {
      step: this.step,
      prngState: this.objective.prngState(),
      dataPosition: this.objective.dataPosition(),
      curve: curve ?? this.newCurve().state,
      ...(Object.keys(others).length === 0 ? {} : { curves: others }),
      configDigest: this.settings.configDigest,
    };
    const tensors = { ...this.tensors(), extra: this.objective.extra(this.step) };
    const dir = await saveCheckpoint(this.settings.checkpointDir, state, tensors);
    this.saved = { step: this.step, dir };
    return dir;
  }

  /** Says that what a checkpoint holds changed without a step: the next `save` writes, also over a checkpoint of this step. */
  changed(): void {
    this.saved = undefined;
  }

  /** Continues from a checkpoint folder. */
  async restore(dir: string): Promise<void> {
    const { configDigest, checkpointDir } = this.settings;
    const state = await loadCheckpoint(dir, configDigest, this.tensors(), (run) => this.objective.extra(run.step));
    this.step = state.step;
    this.curves = new Map([[TRAIN_LOSS, this.newCurve(state.curve)]]);
    for (const [name, curve] of Object.entries(state.curves ?? {})) this.curves.set(name, this.newCurve(curve));
    this.objective.restored(state);
    const target = join(checkpointDir, checkpointName(state.step));
    if (resolve(dir) === resolve(target)) this.saved = { step: state.step, dir: target };
  }

  release(): Promise<void> {
    return this.objective.release();
  }

  private addToCurves(values: Readonly<Record<string, number>>): Record<string, number> {
    const points: Record<string, number> = {};
    for (const [name, value] of Object.entries(values)) {
      const curve = this.curves.get(name) ?? this.newCurve();
      this.curves.set(name, curve);
      const point = curve.add(this.step, value);
      if (point !== undefined) points[name] = point;
    }
    return points;
  }

  private newCurve(state?: CurveState): LossCurve {
    return new LossCurve(this.settings.maxSteps, { unit: this.objective.stepsPerRound, ...(state ? { state } : {}) });
  }

  private tensors(): CheckpointTensors {
    const { firstMoment, secondMoment } = this.optimiser;
    return { parameters: this.objective.trainable.tensors(), firstMoment, secondMoment };
  }
}
