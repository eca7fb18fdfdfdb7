import { Worker } from 'node:worker_threads';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { PreprocessDatasetFile, PreprocessedDataset, PreprocessProgress } from './preprocess-dataset-file.ts';
import type { PreprocessThreadMessage } from './preprocess-thread.ts';

/** A million documents of bookkeeping and a 16 MiB document fit with room to spare. */
const DEFAULT_HEAP_MIB = 2_048;

/**
 * `preprocessDatasetFile` in a worker thread, so that the caller's event loop keeps sending heartbeats. Same result and errors;
 * more memory than the thread's limit is `DatasetTooLarge`. Aborting ends the thread and rejects with the signal's reason; the
 * files it leaves are removed by the next attempt in the same folder.
 */
export async function runPreprocessInThread(
  args: Omit<PreprocessDatasetFile, 'signal' | 'onProgress'>,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: PreprocessProgress) => void) | undefined;
    /** Most JavaScript heap of the thread. */
    readonly heapMib?: number | undefined;
  } = {},
): Promise<PreprocessedDataset> {
  const { signal, onProgress, heapMib = DEFAULT_HEAP_MIB } = options;
  signal?.throwIfAborted();
  const thread = new Worker(new URL('./preprocess-thread.ts', import.meta.url), {
    workerData: args,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: heapMib },
  });
  const { promise, resolve, reject } = Promise.withResolvers<PreprocessedDataset>();
  thread.on('message', (message: PreprocessThreadMessage) => {
    if (message.type === 'progress') onProgress?.(message.progress);
    else if (message.type === 'result') resolve(message.result);
    else reject(revived(message));
  });
  thread.on('error', (error) => {
    reject(asFailure(error, heapMib));
  });
  thread.on('exit', (code) => {
    reject(new Error(`the preprocessing thread exited with code ${code} and no result`));
  });
  const abort = (): void => {
    reject(signal?.reason as Error);
  };
  signal?.addEventListener('abort', abort);
  try {
    return await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
    await thread.terminate();
  }
}

function revived(message: Extract<PreprocessThreadMessage, { type: 'error' }>): Error {
  const error =
    message.code === null
      ? new Error(message.message)
      : new TrainyardError(message.code, message.message, { details: message.details, fields: message.fields });
  if (message.stack !== undefined) error.stack = message.stack;
  return error;
}

function asFailure(error: unknown, heapMib: number): unknown {
  return (error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY'
    ? new TrainyardError('DatasetTooLarge', `preprocessing needs more than ${heapMib} MiB of memory`, {
        cause: error,
      })
    : error;
}
