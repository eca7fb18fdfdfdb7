import { answerFromThread } from '#lib/datasets/run-in-thread.ts';
import {
  type PreprocessDatasetFile,
  preprocessDatasetFile,
  type PreprocessProgress,
} from './preprocess-dataset-file.ts';

/** Entry of the worker thread that `runPreprocessInThread` starts. */
await answerFromThread(
  (args: Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>, onProgress: (progress: PreprocessProgress) => void) =>
    preprocessDatasetFile({ ...args, onProgress }),
);
