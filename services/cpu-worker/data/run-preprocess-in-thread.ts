import { runInThread, type ThreadOptions } from '#lib/datasets/run-in-thread.ts';
import type { PreprocessDatasetFile, PreprocessedDataset, PreprocessProgress } from './preprocess-dataset-file.ts';

/**
 * `preprocessDatasetFile` in a worker thread (see `runInThread`). Same result and errors; the files that an aborted call leaves are
 * removed by the next attempt in the same folder.
 */
export const runPreprocessInThread = (
  args: Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>,
  options: ThreadOptions<PreprocessProgress> = {},
): Promise<PreprocessedDataset> =>
  runInThread(new URL('./preprocess-thread.ts', import.meta.url), args, 'preprocessing', options);
