import type { EvaluateSpec, EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import type { Tokenizer } from '#lib/text/tokenizer.ts';
import type { TokenData } from '../data/token-dataset.ts';
import type { NamedEstimate } from './estimate.ts';
import type { Subject } from './subject.ts';

/** What a suite found out about one model. */
export interface SuiteScores {
  readonly estimates: readonly NamedEstimate[];
  /** Numbers by item that mean something only beside another model's. */
  readonly items?: readonly number[];
}

/** A suite with its items loaded: every model answers the same ones, so that differences are paired. */
export interface Suite {
  /** Batches that one model takes, with `rows` rows of the scoring program. */
  batches(rows: number): number;
  /** Scores a model. `afterBatch` is called after each batch, `keepAlive` in between; both may throw to stop. */
  score(subject: Subject, afterBatch: () => void, keepAlive: () => void): Promise<SuiteScores>;
  /** Metrics of the model against the baseline that neither has by itself. */
  compare?(own: readonly number[], baseline: readonly number[]): NamedEstimate[];
  /** Metrics that do not depend on the model. */
  constants(): EvaluationMetric[];
}

/** What suites are made from. */
export interface SuiteContext {
  readonly spec: EvaluateSpec;
  readonly data: TokenData;
  readonly tokenizer: Tokenizer;
  /** Tokens of a row of the scoring program. */
  readonly length: number;
  readonly padding: number;
}
