import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerMessage, TrainerSpec } from '#lib/contracts/trainer-protocol.ts';
import { assertNever } from '#lib/kernel/errors.ts';
import { type ActivityContext, ActivityError, mustAbandon, YieldedError } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import { judgeTrainerEnd, type TrainerEnd } from '../domain/trainer-exit.ts';
import type { SlotPool } from './slot-pool.ts';

/** A training program that runs. */
export interface RunningTrainer {
  /** Resolves when the program has ended and everything it printed was handed over; never rejects. */
  readonly ended: Promise<TrainerEnd>;
  /** Last lines of stderr, of `log` messages and of stdout that is no message, oldest first. */
  logTail(): string[];
  /** SIGTERM: save a checkpoint and exit 75. */
  requestYield(): void;
  /** SIGKILL. */
  kill(): void;
}

/** Starts a training program on a spec file and hands over what it prints, in order. `environment`: what its slot adds. */
export type StartTrainer = (
  specPath: string,
  environment: Readonly<Record<string, string>>,
  onMessage: (message: TrainerMessage) => void,
) => RunningTrainer;

/** What the activities of the GPU lane work with. */
export interface GpuPlatform extends WorkerPlatform {
  readonly startTrainer: StartTrainer;
  readonly slots: SlotPool;
  /** Given to every training program. */
  readonly limits: TrainerSpec['limits'];
  /** A program that was asked to yield or to end gets this long, ms; then it is killed. */
  readonly yieldTimeoutMs: number;
}

export interface TrainerRun {
  readonly result: Extract<TrainerMessage, { type: 'result' }>;
}

/**
 * Runs a training program for one attempt in a slot of its own and turns what it prints into progress. Resolves with its result; throws
 * `YieldedError` when it stopped on request, `ActivityError` (with the last log lines) when it failed.
 * `onMessage` sees every message; `beforeYield` is awaited before a yield is reported, so that its checkpoint is stored by then.
 */
export async function runTrainer(
  platform: GpuPlatform,
  context: ActivityContext,
  spec: TrainerSpec,
  folder: string,
  hooks: { readonly onMessage: (message: TrainerMessage) => void; readonly beforeYield: () => Promise<number | null> },
): Promise<TrainerRun> {
  context.signal.throwIfAborted();
  await mkdir(folder, { recursive: true });
  const specPath = join(folder, `spec-${context.activityId}-e${context.epoch}.json`);
  await writeFile(specPath, JSON.stringify(spec, null, 2));
  const slot = platform.slots.take();
  const trainer = platform.startTrainer(specPath, slot.environment, (message) => {
    if (message.type === 'step') context.progress(progressOf(message, slot.index));
    hooks.onMessage(message);
  });
  const stop = stopOnAbort(context.signal, trainer, platform.yieldTimeoutMs);
  try {
    const verdict = judgeTrainerEnd(await trainer.ended);
    switch (verdict.kind) {
      case 'done':
        return { result: verdict.result };
      case 'yielded':
        throw new YieldedError(await hooks.beforeYield());
      case 'failed':
        if (context.signal.aborted && !mustAbandon(context.signal)) throw new YieldedError(await hooks.beforeYield());
        throw new ActivityError(verdict.code, verdict.message, {
          retryable: verdict.retryable,
          logTail: trainer.logTail(),
        });
      default:
        return assertNever(verdict);
    }
  } finally {
    stop();
    platform.slots.give(slot);
  }
}

function progressOf(message: Extract<TrainerMessage, { type: 'step' }>, slot: number) {
  const { step, stepsTotal, tokensPerSecond, loss, learningRate } = message;
  return {
    step,
    stepsTotal,
    ...(tokensPerSecond === undefined ? {} : { throughput: tokensPerSecond }),
    device: { slot, loss: loss ?? null, learningRate: learningRate ?? null },
  };
}

/** Revoked: the result is void, kill. Everything else: ask, and kill only a program that does not listen. Returns how to stop listening. */
function stopOnAbort(
  signal: AbortSignal,
  trainer: { requestYield(): void; kill(): void },
  yieldTimeoutMs: number,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    if (signal.reason === 'Revoked') return trainer.kill();
    trainer.requestYield();
    timer = setTimeout(() => trainer.kill(), yieldTimeoutMs);
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return () => {
    signal.removeEventListener('abort', stop);
    clearTimeout(timer);
  };
}
