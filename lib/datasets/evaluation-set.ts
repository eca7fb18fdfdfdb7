import type { EvaluationTokens } from './evaluation-tokens.ts';
import { runInThread, type ThreadOptions } from './run-in-thread.ts';

/**
 * All of a dataset as token ids, every row held out: `writeEvaluationPairs` for pairs of preference, `writeEvaluationTokens` for the other formats,
 * in a worker thread (see `runInThread`). Progress is bytes of the file read.
 */
export async function writeEvaluationSetInThread(
  args: Omit<EvaluationTokens, 'signal' | 'onProgress'>,
  options: ThreadOptions<number> = {},
): Promise<void> {
  await runInThread<null, number>(
    new URL('./evaluation-set-thread.ts', import.meta.url),
    args,
    'tokenising an evaluation set',
    options,
  );
}
