import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { Value } from '#typebox/value';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Completion, GenerationRequest, InferenceProblem } from '#lib/serving/inference-protocol.ts';
import type { ModelPlace } from '../serving/loaded-model.ts';
import { ServeAnswer } from '../serving/messages.ts';

export interface ServingOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Models in memory at most. */
  readonly models: number;
  readonly threads: number;
  /** The process ends when nobody asked for this long: an idle platform holds no model in memory. */
  readonly idleMs: number;
  /** Default: the built-in one. */
  readonly entry?: string;
}

export type ServedCompletion =
  | { readonly ok: true; readonly completion: Completion }
  | { readonly ok: false; readonly problem: InferenceProblem };

const BUILT_IN = join(import.meta.dirname, '../serving/main.ts');

/** Requests that wait at once; the next one is refused. At 50 ms each the last of them waits 3 s. */
const MAX_WAITING = 64;

interface Waiting {
  readonly resolve: (answer: ServedCompletion) => void;
  readonly reject: (error: unknown) => void;
}

/** One serving process, started by the first request and again by the first one after its end, whatever the reason. */
export class ServingProcess {
  readonly #options: ServingOptions;
  readonly #waiting = new Map<number, Waiting>();
  #child: ChildProcess | null = null;
  #idle: NodeJS.Timeout | null = null;
  #lastId = 0;
  #closed = false;

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  /** Null while none runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Rejects with `InferenceUnavailable` when too many wait, when the process died under the request, and after `close`. */
  async complete(place: ModelPlace, request: GenerationRequest): Promise<ServedCompletion> {
    if (this.#closed) throw unavailable('the worker is stopping');
    if (this.#waiting.size >= MAX_WAITING) throw unavailable(`${MAX_WAITING} requests are waiting already`);
    const child = this.#child ?? this.#start();
    const id = ++this.#lastId;
    if (this.#idle !== null) clearTimeout(this.#idle);
    const { promise, resolve, reject } = Promise.withResolvers<ServedCompletion>();
    this.#waiting.set(id, { resolve, reject });
    child.send({ id, place, request }, (error) => {
      if (error !== null)
        this.#settle(id)?.reject(unavailable(`the serving process cannot be reached: ${error.message}`));
    });
    return promise;
  }

  /** Ends the process; what waits is refused. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
    });
    this.#end(child);
    await ended;
  }

  #start(): ChildProcess {
    const { environment, models, threads, entry = BUILT_IN } = this.#options;
    const child = fork(entry, [String(models), String(threads)], {
      env: { ...environment },
      execArgv: [],
      serialization: 'json',
      // What it prints by accident belongs into our log, never into a pipe that nobody empties.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    child.on('message', (message) => this.#onAnswer(message));
    const over = (reason: string): void => this.#onEnd(child, reason);
    child.on('error', (error) => over(error.message));
    child.on('exit', (code, signal) => over(`the serving process ended with ${signal ?? `exit code ${code}`}`));
    return child;
  }

  #onAnswer(message: unknown): void {
    if (!Value.Check(ServeAnswer, message)) return;
    const waiting = this.#settle(message.id);
    if ('completion' in message) waiting?.resolve({ ok: true, completion: message.completion });
    else waiting?.resolve({ ok: false, problem: message.problem });
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    const child = this.#child;
    if (this.#waiting.size === 0 && child !== null) {
      if (this.#idle !== null) clearTimeout(this.#idle);
      this.#idle = setTimeout(() => this.#end(child), this.#options.idleMs);
      this.#idle.unref();
    }
    return waiting;
  }

  #end(child: ChildProcess): void {
    if (this.#child === child) this.#child = null;
    child.kill('SIGKILL');
  }

  #onEnd(child: ChildProcess, reason: string): void {
    // One that was ended for being idle may be survived by its successor, whose requests are not ours to refuse.
    if (this.#child !== child && this.#child !== null) return;
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#child = null;
    for (const id of this.#waiting.keys()) this.#settle(id)?.reject(unavailable(reason));
  }
}

const unavailable = (reason: string): TrainyardError => new TrainyardError('InferenceUnavailable', reason);
