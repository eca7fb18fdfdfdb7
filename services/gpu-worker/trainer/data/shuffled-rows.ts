import { mulberry32 } from '#lib/kernel/random.ts';
import { derivedSeed, permutation, PURPOSE } from '../random.ts';
import type { DataPosition } from './training-batches.ts';

/**
 * An endless sequence of rows without replacement: each epoch is one random permutation that depends on (seed, epoch) only. A
 * pure function of the index, so that a resumed run needs no state.
 */
export class ShuffledRows {
  private readonly count: number;
  private readonly seed: number;
  private epoch = -1;
  private order: Int32Array = new Int32Array();

  /** `count` is at least 1. */
  constructor(count: number, seed: number) {
    this.count = count;
    this.seed = seed;
  }

  /** The row at place `index` (from 0) of the sequence. */
  at(index: number): number {
    const { epoch, cursor } = this.position(index);
    if (epoch !== this.epoch) {
      this.order = permutation(this.count, mulberry32(derivedSeed(derivedSeed(this.seed, PURPOSE.epoch), epoch)));
      this.epoch = epoch;
    }
    return this.order[cursor] ?? 0;
  }

  position(index: number): DataPosition {
    return { epoch: Math.floor(index / this.count), cursor: index % this.count };
  }
}
