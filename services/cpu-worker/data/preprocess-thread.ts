import { parentPort, workerData } from 'node:worker_threads';
import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import type { PreprocessedDataset, PreprocessProgress } from './preprocess-dataset-file.ts';
import { type PreprocessDatasetFile, preprocessDatasetFile } from './preprocess-dataset-file.ts';

/** What the thread posts; plain objects, the last one is `result` or `error`. */
export type PreprocessThreadMessage =
  | { readonly type: 'progress'; readonly progress: PreprocessProgress }
  | { readonly type: 'result'; readonly result: PreprocessedDataset }
  | {
      readonly type: 'error';
      /** Null for anything that is not a TrainyardError. */
      readonly code: TrainyardError['code'] | null;
      readonly message: string;
      readonly details: TrainyardError['details'];
      readonly fields: TrainyardError['fields'];
      readonly stack: string | undefined;
    };

/** Entry of the worker thread that `runPreprocessInThread` starts. */
async function main(): Promise<void> {
  invariant(parentPort !== null, 'preprocess-thread.ts runs as a worker thread');
  const port = parentPort;
  const post = (message: PreprocessThreadMessage): void => {
    port.postMessage(message);
  };
  try {
    const result = await preprocessDatasetFile({
      ...(workerData as Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>),
      onProgress: (progress) => {
        post({ type: 'progress', progress });
      },
    });
    post({ type: 'result', result });
  } catch (error) {
    const known = error instanceof TrainyardError ? error : null;
    post({
      type: 'error',
      code: known?.code ?? null,
      message: messageOf(error),
      details: known?.details ?? {},
      fields: known?.fields ?? [],
      stack: error instanceof Error ? error.stack : undefined,
    });
  }
}

await main();
