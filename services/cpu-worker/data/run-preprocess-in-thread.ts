import type { PreprocessDatasetFile, PreprocessedDataset, PreprocessProgress } from './preprocess-dataset-file.ts';
import { runInThread, type ThreadOptions } from './worker-thread.ts';

/** `preprocessDatasetFile` in a worker thread; rules as of `runInThread`. */
export const runPreprocessInThread = (
  args: Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>,
  options: ThreadOptions<PreprocessProgress> = {},
): Promise<PreprocessedDataset> => runInThread(new URL('./preprocess-thread.ts', import.meta.url), args, options);
