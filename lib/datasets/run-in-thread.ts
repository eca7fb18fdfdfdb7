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

/** A million documents of bookkeeping and a 16 MiB document fit with room to spare. */
const DEFAULT_HEAP_MIB = 2_048;

export interface ThreadOptions<Progress> {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Most JavaScript heap of the thread. */
  readonly heapMib?: number | undefined;
}

/**
 * Runs the module `entry`, which calls `answerFromThread`, in a worker thread, so that the caller's event loop keeps sending heartbeats.
 * Results and errors are those of the work; more memory than the thread's limit is `DatasetTooLarge` with `task` in its message. Aborting
 * ends the thread and rejects with the signal's reason.
 */
export async function runInThread<Result, Progress = never>(
  entry: URL,
  args: object,
  task: string,
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
    reject(asFailure(error, task, heapMib));
  });
  thread.on('exit', (code) => {
    reject(new Error(`the ${task} thread exited with code ${code} and no result`));
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

/** The thread's side: does the work with the arguments given to `runInThread` and posts progress, result or error. */
export async function answerFromThread<Args, Result, Progress = never>(
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

function revived(message: Extract<ThreadMessage<never, never>, { type: 'error' }>): Error {
  const error =
    message.code === null
      ? new Error(message.message)
      : new TrainyardError(message.code, message.message, { details: message.details, fields: message.fields });
  if (message.stack !== undefined) error.stack = message.stack;
  return error;
}

function asFailure(error: unknown, task: string, heapMib: number): unknown {
  return (error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY'
    ? new TrainyardError('DatasetTooLarge', `${task} needs more than ${heapMib} MiB of memory`, { cause: error })
    : error;
}
