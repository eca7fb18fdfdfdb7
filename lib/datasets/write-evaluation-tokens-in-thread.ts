import type { TokenizedDataset } from '#lib/contracts/tokenized-dataset.ts';
import type { EvaluationTokens } from './evaluation-tokens.ts';
import { runInThread, type ThreadOptions } from './run-in-thread.ts';

/** `writeEvaluationTokens` in a worker thread (see `runInThread`); progress is bytes of the file read. */
export const writeEvaluationTokensInThread = (
  args: Omit<EvaluationTokens, 'signal' | 'onProgress'>,
  options: ThreadOptions<number> = {},
): Promise<TokenizedDataset> =>
  runInThread(new URL('./evaluation-tokens-thread.ts', import.meta.url), args, 'tokenising an evaluation set', options);
