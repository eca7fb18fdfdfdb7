import {
  type PreprocessDatasetFile,
  preprocessDatasetFile,
  type PreprocessProgress,
} from './preprocess-dataset-file.ts';
import { serveThread } from './worker-thread.ts';

await serveThread(
  (args: Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>, onProgress: (progress: PreprocessProgress) => void) =>
    preprocessDatasetFile({ ...args, onProgress }),
);
