import type { RandomStream } from '#lib/kernel/random.ts';
import type { Model } from '../model/weights.ts';
import { type BatchSize, compileScoring, type ScoringProgram } from '../programs/causal-lm.ts';
import { compileDecoder, type DecoderProgram } from '../programs/decoder.ts';
import { continuePrompts } from './continuations.ts';

/** Rows that are continued side by side: a step of 32 small rows costs about as much as one of 8. */
const DECODER_ROWS = 32;

/** Batches that `Subject.continueAll` takes. */
export const continuationBatches = (prompts: number): number => Math.ceil(prompts / DECODER_ROWS);

/** A model under evaluation, with the programs that suites need; each is compiled when it is first asked for. */
export class Subject {
  private readonly model: Model;
  private readonly size: BatchSize;
  private scoringProgram: ScoringProgram | undefined;
  private decoder: DecoderProgram | undefined;

  constructor(model: Model, size: BatchSize) {
    this.model = model;
    this.size = size;
  }

  async scoring(): Promise<ScoringProgram> {
    this.scoringProgram ??= await compileScoring(this.model, this.size);
    return this.scoringProgram;
  }

  /** Continues all prompts, in order; see `continuePrompts`. `afterToken` may throw to stop. */
  async continueAll(
    prompts: readonly ArrayLike<number>[],
    options: { tokens: number; temperature: number; random: RandomStream; afterToken: () => void },
    afterBatch: () => void,
  ): Promise<number[][]> {
    this.decoder ??= await compileDecoder(this.model, { ...this.size, batch: DECODER_ROWS });
    const { endOfTextId } = this.model.config;
    const all: number[][] = [];
    for (let begin = 0; begin < prompts.length; begin += DECODER_ROWS) {
      const batch = prompts.slice(begin, begin + DECODER_ROWS);
      all.push(...(await continuePrompts(this.decoder, batch, { ...options, endOfTextId })));
      afterBatch();
    }
    return all;
  }

  async release(): Promise<void> {
    await this.scoringProgram?.release();
    await this.decoder?.release();
  }
}
