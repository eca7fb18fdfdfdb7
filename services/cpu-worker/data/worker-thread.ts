import { parentPort, Worker, workerData } from 'node:worker_threads';
import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';

/** What a thread posts; plain objects, the last one is `result` or `error`. */
type ThreadMessage<Progress, Result> =
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'result'; readonly result: Result }
  | {
      readonly type: 'error';
      /** Null for anything that is not a TrainyardError. */
      readonly code: TrainyardError['code'] | null;
      readonly message: string;
      readonly details: TrainyardError['details'];
      readonly fields: TrainyardError['fields'];
      readonly stack: string | undefined;
    };

export interface ThreadOptions<Progress> {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Most JavaScript heap of the thread. */
  readonly heapMib?: number | undefined;
}

/** A million documents of bookkeeping and a 16 MiB document fit with room to spare. */
const DEFAULT_HEAP_MIB = 2_048;

/**
 * Runs the module `entry`, which calls `serveThread`, in a worker thread, so that the caller's event loop keeps sending heartbeats. Same result
 * and errors as without a thread; more memory than the thread's limit is `DatasetTooLarge`. Aborting ends the thread and rejects with the
 * signal's reason; the files it leaves are removed by the next attempt in the same folder.
 */
export async function runInThread<Args, Progress, Result>(
  entry: URL,
  args: Args,
  { signal, onProgress, heapMib = DEFAULT_HEAP_MIB }: ThreadOptions<Progress> = {},
): Promise<Result> {
  signal?.throwIfAborted();
  const thread = new Worker(entry, {
    workerData: args,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: heapMib },
  });
  const { promise, resolve, reject } = Promise.withResolvers<Result>();
  thread.on('message', (message: ThreadMessage<Progress, Result>) => {
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

/** The other side of `runInThread`: `work` gets what the caller gave, and its result or error goes back. */
export async function serveThread<Args, Progress, Result>(
  work: (args: Args, onProgress: (progress: Progress) => void) => Promise<Result>,
): Promise<void> {
  invariant(parentPort !== null, 'this module runs as a worker thread');
  const port = parentPort;
  const post = (message: ThreadMessage<Progress, Result>): void => {
    port.postMessage(message);
  };
  try {
    const result = await work(workerData as Args, (progress) => {
      post({ type: 'progress', progress });
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

function revived(message: Extract<ThreadMessage<unknown, unknown>, { type: 'error' }>): Error {
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
