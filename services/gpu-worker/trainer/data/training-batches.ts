import { mulberry32 } from '#lib/kernel/random.ts';
import { derivedSeed, permutation, PURPOSE } from '../random.ts';
import type { Tokens } from './token-dataset.ts';
import { type Batch, fillRow, packedWindows, requireWindows, runningWindows, type WindowPlan } from './windows.ts';

/** Where in the data a run stands; with the seed it determines every later batch. */
export interface DataPosition {
  readonly epoch: number;
  /** Windows of this epoch already used. */
  readonly cursor: number;
}

export interface TrainingBatchOptions {
  readonly length: number;
  readonly seed: number;
  readonly endOfTextId: number;
}

/**
 * Endless shuffled windows without replacement: each epoch is one random permutation, and for running text also a random
 * phase, so that window borders move. Both depend on (seed, epoch) only; a resumed run rebuilds them.
 */
export class TrainingBatches {
  private readonly tokens: Tokens;
  private readonly options: TrainingBatchOptions;
  private readonly packed: WindowPlan | undefined;
  private epoch: number;
  private cursor: number;
  private plan: WindowPlan;
  private order: Int32Array;

  constructor(tokens: Tokens, options: TrainingBatchOptions, position: DataPosition = { epoch: 0, cursor: 0 }) {
    this.tokens = tokens;
    this.options = options;
    const { length, endOfTextId } = options;
    this.packed =
      tokens.mask === undefined
        ? undefined
        : requireWindows(packedWindows(tokens, length, endOfTextId), 'train', length);
    this.epoch = position.epoch;
    this.cursor = position.cursor;
    [this.plan, this.order] = this.shuffled();
  }

  /** Fills all rows of the batch; returns the number of tokens that count in the loss, at least 1. */
  fill(batch: Batch): number {
    const { length, endOfTextId } = this.options;
    let weight = 0;
    for (let row = 0; row < batch.ids.length / length; row += 1) {
      if (this.cursor >= this.order.length) {
        this.epoch += 1;
        this.cursor = 0;
        [this.plan, this.order] = this.shuffled();
      }
      const window = this.plan.at(this.order[this.cursor] ?? 0);
      this.cursor += 1;
      weight += fillRow(batch, row, length, this.tokens, window, endOfTextId);
    }
    return weight;
  }

  position(): DataPosition {
    return { epoch: this.epoch, cursor: this.cursor };
  }

  private shuffled(): [WindowPlan, Int32Array] {
    const { length, seed } = this.options;
    const random = mulberry32(derivedSeed(derivedSeed(seed, PURPOSE.epoch), this.epoch));
    const spare = Math.max(0, this.tokens.ids.length - 1 - length);
    const phase = Math.floor(random.next() * Math.min(length, spare + 1));
    const plan =
      this.packed ?? requireWindows(runningWindows(this.tokens.ids.length, length, phase, false), 'train', length);
    return [plan, permutation(plan.count, random)];
  }
}
