import { join, resolve } from 'node:path';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { checkpointName, type CheckpointTensors, loadCheckpoint, saveCheckpoint } from '../checkpoint.ts';
import { TrainingBatches, type TrainingBatchOptions } from '../data/training-batches.ts';
import { trainableTensors } from '../model/weights.ts';
import { AdamW, clipScale, norm } from '../optim/adamw.ts';
import { learningRateAt } from '../optim/schedule.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { compileTraining, type TrainingProgram } from './causal-lm.ts';
import type { PreparedSft } from './prepare-sft.ts';
import { LossCurve } from './progress.ts';

export interface StepResult {
  readonly loss: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
}

/**
 * One training run between two optimiser steps. Its whole state is: the trainable tensors, two moments, and the `RunState` of
 * a checkpoint; nothing in it depends on time, so resuming continues bit for bit.
 */
export class TrainingRun {
  /** Optimiser steps done. */
  step = 0;
  curve: LossCurve;
  private readonly spec: SftSpec;
  private readonly prepared: PreparedSft;
  private readonly program: TrainingProgram;
  private readonly optimiser: AdamW;
  private readonly accumulated: Float32Array | undefined;
  private batches: TrainingBatches;
  private random: RandomStream;
  private saved: { step: number; dir: string } | undefined;

  private constructor(spec: SftSpec, prepared: PreparedSft, program: TrainingProgram) {
    const { maxSteps, gradientAccumulationSteps } = spec.hyperparameters;
    this.spec = spec;
    this.prepared = prepared;
    this.program = program;
    this.optimiser = new AdamW(trainableTensors(prepared.model), spec.hyperparameters);
    this.accumulated = gradientAccumulationSteps > 1 ? new Float32Array(program.gradients.length) : undefined;
    this.curve = new LossCurve(maxSteps);
    this.batches = new TrainingBatches(prepared.data.train, batchOptions(spec, prepared));
    this.random = mulberry32(derivedSeed(spec.seed, PURPOSE.dropout));
  }

  /** Compiles the program and, when the spec names a checkpoint, continues from it. */
  static async start(spec: SftSpec, prepared: PreparedSft): Promise<TrainingRun> {
    const { batchSize, sequenceLength } = spec.hyperparameters;
    const size = { batch: batchSize, length: sequenceLength, threads: spec.limits.threads };
    const run = new TrainingRun(spec, prepared, await compileTraining(prepared.model, size));
    if (spec.resumeFrom !== undefined) await run.restore(spec.resumeFrom);
    return run;
  }

  /** One optimiser step. Throws `NonFiniteLoss` before any weight changes. */
  async advance(): Promise<StepResult> {
    const { hyperparameters } = this.spec;
    const step = this.step + 1;
    const { loss, scale } = await this.computeGradients();
    const gradients = this.accumulated ?? this.program.gradients;
    const gradientNorm = norm(gradients) * scale;
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
      const message = `step ${step}: loss ${loss}, gradient norm ${gradientNorm}`;
      throw new TrainyardError('NonFiniteLoss', message, { details: { step } });
    }
    const learningRate = learningRateAt(step, hyperparameters);
    this.optimiser.update(gradients, scale * clipScale(gradientNorm, hyperparameters.gradientClip), learningRate, step);
    this.step = step;
    return { loss, learningRate, gradientNorm };
  }

  /**
   * Writes a checkpoint of the state after the last step and returns its folder. A step is written once: whoever read its
   * `checkpoint` line may be uploading it.
   */
  async save(): Promise<string> {
    if (this.saved?.step === this.step) return this.saved.dir;
    const state = {
      step: this.step,
      prngState: this.random.state(),
      dataPosition: this.batches.position(),
      curve: this.curve.state,
      configDigest: this.prepared.configDigest,
    };
    const dir = await saveCheckpoint(this.spec.checkpointDir, state, this.tensors());
    this.saved = { step: this.step, dir };
    return dir;
  }

  release(): Promise<void> {
    return this.program.release();
  }

  /**
   * Runs the micro-batches of one step. Each is normalised by its own weight and then counts in proportion to it, so that
   * 2 micro-batches of 4 give the gradient of 1 batch of 8 even when masks differ. The gradient is `scale` times the array.
   */
  private async computeGradients(): Promise<{ loss: number; scale: number }> {
    const { program, accumulated } = this;
    accumulated?.fill(0);
    let weightedLoss = 0;
    let totalWeight = 0;
    for (let micro = 0; micro < this.spec.hyperparameters.gradientAccumulationSteps; micro += 1) {
      const weight = this.batches.fill(program.batch);
      for (let i = 0; i < program.batch.weights.length; i += 1) {
        program.batch.weights[i] = (program.batch.weights[i] as number) / weight;
      }
      program.dropout?.draw(this.random);
      weightedLoss += (await program.run()) * weight;
      totalWeight += weight;
      if (accumulated !== undefined) addScaled(accumulated, program.gradients, weight);
    }
    return { loss: weightedLoss / totalWeight, scale: accumulated === undefined ? 1 : 1 / totalWeight };
  }

  private async restore(dir: string): Promise<void> {
    const state = await loadCheckpoint(dir, this.prepared.configDigest, this.tensors());
    this.step = state.step;
    this.curve = new LossCurve(this.spec.hyperparameters.maxSteps, state.curve);
    const options = batchOptions(this.spec, this.prepared);
    this.batches = new TrainingBatches(this.prepared.data.train, options, state.dataPosition);
    this.random = mulberry32(state.prngState);
    const target = join(this.spec.checkpointDir, checkpointName(state.step));
    if (resolve(dir) === resolve(target)) this.saved = { step: state.step, dir: target };
  }

  private tensors(): CheckpointTensors {
    const { firstMoment, secondMoment } = this.optimiser;
    return { parameters: trainableTensors(this.prepared.model).tensors(), firstMoment, secondMoment };
  }
}

const batchOptions = (spec: SftSpec, { model }: PreparedSft): TrainingBatchOptions => ({
  length: spec.hyperparameters.sequenceLength,
  seed: derivedSeed(spec.seed, PURPOSE.data),
  endOfTextId: model.config.endOfTextId,
});

function addScaled(into: Float32Array, values: Float32Array, factor: number): void {
  for (let i = 0; i < into.length; i += 1) into[i] = (into[i] as number) + factor * (values[i] as number);
}
