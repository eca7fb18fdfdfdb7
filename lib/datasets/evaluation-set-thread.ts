import { writeEvaluationPairs } from './evaluation-pairs.ts';
import { type EvaluationTokens, writeEvaluationTokens } from './evaluation-tokens.ts';
import { answerFromThread } from './run-in-thread.ts';

/** Entry of the worker thread that `writeEvaluationSetInThread` starts. */
await answerFromThread(
  async (args: Omit<EvaluationTokens, 'signal' | 'onProgress'>, onProgress: (bytes: number) => void): Promise<null> => {
    const write = args.format === 'jsonl_preferences' ? writeEvaluationPairs : writeEvaluationTokens;
    await write({ ...args, onProgress });
    return null;
  },
);
