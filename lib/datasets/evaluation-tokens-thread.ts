import { type EvaluationTokens, writeEvaluationTokens } from './evaluation-tokens.ts';
import { answerFromThread } from './run-in-thread.ts';

/** Entry of the worker thread that `writeEvaluationTokensInThread` starts. */
await answerFromThread((args: Omit<EvaluationTokens, 'signal' | 'onProgress'>, onProgress: (bytes: number) => void) =>
  writeEvaluationTokens({ ...args, onProgress }),
);
