import type { PreprocessProgress } from './preprocess-dataset-file.ts';
import { type PreprocessPreferenceFile, preprocessPreferenceFile } from './preprocess-preference-file.ts';
import { serveThread } from './worker-thread.ts';

await serveThread(
  (args: Omit<PreprocessPreferenceFile, 'signal' | 'onProgress'>, onProgress: (progress: PreprocessProgress) => void) =>
    preprocessPreferenceFile({ ...args, onProgress }),
);
