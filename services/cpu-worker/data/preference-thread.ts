import type { PreprocessProgress } from './preprocess-dataset-file.ts';
import { type PreprocessPreferenceFile, preprocessPreferenceFile } from './preprocess-preference-file.ts';
import { answerFromThread } from '#lib/datasets/run-in-thread.ts';

await answerFromThread(
  (args: Omit<PreprocessPreferenceFile, 'signal' | 'onProgress'>, onProgress: (progress: PreprocessProgress) => void) =>
    preprocessPreferenceFile({ ...args, onProgress }),
);
