import type { PreferenceHyperparameters } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32, type RandomStream } from '#lib/kernel/random.ts';
import type { RunState } from '../checkpoint.ts';
import type { PreferencePairs } from '../data/preference-pairs.ts';
import { ShuffledRows } from '../data/shuffled-rows.ts';
import type { DataPosition } from '../data/training-batches.ts';
import type { NamedTensor } from '../formats/safetensors.ts';
import type { TensorSet } from '../model/tensor-set.ts';
import { type Model, trainableTensors } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { MicroBatches } from './micro-batches.ts';
import type { Objective, StepGradients } from './objective.ts';
import type { PairValues } from './pair-metrics.ts';
import type { PairProgram } from './preference-programs.ts';
import { type FillRow, pairValues } from './score-pairs.ts';

export interface PairObjectiveOptions {
  readonly model: Model;
  readonly program: PairProgram;
  readonly pairs: PreferencePairs;
  readonly seed: number;
  readonly hyperparameters: Pick<PreferenceHyperparameters, 'batchSize' | 'gradientAccumulationSteps'>;
  readonly fill: FillRow;
  /** Two numbers a pair of the train split, as of `scorePairs`; part of every checkpoint. Absent: there is no reference. */
  readonly reference?: Float32Array;
  readonly metrics: (values: readonly PairValues[], reference: readonly PairValues[]) => Record<string, number>;
}

/** A loss on shuffled pairs: Bradley-Terry or DPO. */
export class PairObjective implements Objective {
  readonly trainable: TensorSet;
  readonly stepsPerRound = 1;
  private readonly options: PairObjectiveOptions;
  private readonly microBatches: MicroBatches;
  private readonly rows: ShuffledRows;
  private random: RandomStream;
  private step = 0;

  constructor(options: PairObjectiveOptions) {
    const { model, program, pairs, seed, hyperparameters } = options;
    this.options = options;
    this.trainable = trainableTensors(model);
    this.microBatches = new MicroBatches(hyperparameters.gradientAccumulationSteps, program.gradients);
    this.rows = new ShuffledRows(pairs.count, derivedSeed(seed, PURPOSE.data));
    this.random = mulberry32(derivedSeed(seed, PURPOSE.dropout));
    program.pairWeights.fill(1 / hyperparameters.batchSize);
  }

  async gradients(step: number): Promise<StepGradients> {
    const { batchSize, gradientAccumulationSteps } = this.options.hyperparameters;
    const result = await this.microBatches.run(async (micro) => {
      const begin = ((step - 1) * gradientAccumulationSteps + micro) * batchSize;
      const reference = this.fill(begin);
      const { program, metrics } = this.options;
      program.dropout?.draw(this.random);
      const loss = await program.run();
      const values = Array.from({ length: batchSize }, (_, index) => ({
        chosen: program.values[index] ?? Number.NaN,
        rejected: program.values[batchSize + index] ?? Number.NaN,
      }));
      return { loss, weight: batchSize, metrics: metrics(values, reference) };
    });
    this.step = step;
    return result;
  }

  dataPosition(): DataPosition {
    const { batchSize, gradientAccumulationSteps } = this.options.hyperparameters;
    return this.rows.position(this.step * gradientAccumulationSteps * batchSize);
  }

  prngState(): number {
    return this.random.state();
  }

  extra(): NamedTensor[] {
    const { reference } = this.options;
    return reference === undefined ? [] : [{ name: 'reference', shape: [reference.length / 2, 2], data: reference }];
  }

  restored(state: RunState): void {
    this.step = state.step;
    this.random = mulberry32(state.prngState);
  }

  release(): Promise<void> {
    return this.options.program.release();
  }

  /** Writes the batch that begins at place `begin` of the shuffled rows; returns what the reference says about it. */
  private fill(begin: number): PairValues[] {
    const { program, pairs, fill, reference, hyperparameters } = this.options;
    return Array.from({ length: hyperparameters.batchSize }, (_, index) => {
      const row = this.rows.at(begin + index);
      const { chosen, rejected } = pairs.at(row);
      fill(program.batch, index, chosen);
      fill(program.batch, hyperparameters.batchSize + index, rejected);
      const known = reference === undefined ? { chosen: 0, rejected: 0 } : pairValues(reference, row);
      program.offsets[index] = known.chosen - known.rejected;
      return known;
    });
  }
}
