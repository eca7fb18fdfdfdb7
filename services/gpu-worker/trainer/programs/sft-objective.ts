import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import type { RunState } from '../checkpoint.ts';
import { type DataPosition, TrainingBatches, type TrainingBatchOptions } from '../data/training-batches.ts';
import type { TensorSet } from '../model/tensor-set.ts';
import { trainableTensors } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { compileTraining, type TrainingProgram } from './causal-lm.ts';
import { MicroBatches } from './micro-batches.ts';
import type { Objective, StepGradients } from './objective.ts';
import type { PreparedSft } from './prepare-sft.ts';

/** Next-token loss on shuffled windows of the train split. */
export class SftObjective implements Objective {
  readonly trainable: TensorSet;
  readonly stepsPerRound = 1;
  private readonly spec: SftSpec;
  private readonly prepared: PreparedSft;
  private readonly program: TrainingProgram;
  private readonly microBatches: MicroBatches;
  private batches: TrainingBatches;
  private random: RandomStream;

  private constructor(spec: SftSpec, prepared: PreparedSft, program: TrainingProgram) {
    this.spec = spec;
    this.prepared = prepared;
    this.program = program;
    this.trainable = trainableTensors(prepared.model);
    this.microBatches = new MicroBatches(spec.hyperparameters.gradientAccumulationSteps, program.gradients);
    this.batches = new TrainingBatches(prepared.data.train, batchOptions(spec, prepared));
    this.random = mulberry32(derivedSeed(spec.seed, PURPOSE.dropout));
  }

  static async compile(spec: SftSpec, prepared: PreparedSft): Promise<SftObjective> {
    const { batchSize, sequenceLength } = spec.hyperparameters;
    const size = { batch: batchSize, length: sequenceLength, threads: spec.limits.threads };
    return new SftObjective(spec, prepared, await compileTraining(prepared.model, size));
  }

  gradients(): Promise<StepGradients> {
    const { program } = this;
    return this.microBatches.run(async () => {
      const weight = this.batches.fill(program.batch);
      for (let i = 0; i < program.batch.weights.length; i += 1) {
        program.batch.weights[i] = (program.batch.weights[i] as number) / weight;
      }
      program.dropout?.draw(this.random);
      return { loss: await program.run(), weight };
    });
  }

  dataPosition(): DataPosition {
    return this.batches.position();
  }

  prngState(): number {
    return this.random.state();
  }

  extra(): [] {
    return [];
  }

  restored(state: RunState): void {
    const options = batchOptions(this.spec, this.prepared);
    this.batches = new TrainingBatches(this.prepared.data.train, options, state.dataPosition);
    this.random = mulberry32(state.prngState);
  }

  release(): Promise<void> {
    return this.program.release();
  }
}

const batchOptions = (spec: SftSpec, { model }: PreparedSft): TrainingBatchOptions => ({
  length: spec.hyperparameters.sequenceLength,
  seed: derivedSeed(spec.seed, PURPOSE.data),
  endOfTextId: model.config.endOfTextId,
});
