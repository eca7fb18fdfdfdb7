import { rm } from 'node:fs/promises';
import { messageOf } from '#lib/kernel/errors.ts';
import { pruneCheckpoints, saveCheckpoint } from '#lib/object-store/checkpoint-store.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/** What is known about a checkpoint besides its files. */
export interface CheckpointCurve {
  /** Adds what the training program does not write; called right before a checkpoint is stored. */
  saveInto(dir: string, step: number): Promise<void>;
  /** Validation loss of the model as of `step`; null when none was measured up to there. */
  validationLossAt(step: number): number | null;
}

interface LocalCheckpoint {
  readonly step: number;
  readonly dir: string;
}

/**
 * Stores checkpoints while training goes on: one upload at a time, one more waiting. When a newer one comes, the waiting one is
 * dropped: training never waits for the store, and a checkpoint that is already old is the one to lose.
 */
export class CheckpointUploads {
  readonly #platform: WorkerPlatform;
  readonly #context: ActivityContext;
  readonly #curve: CheckpointCurve;
  #waiting: LocalCheckpoint | null = null;
  #uploading: Promise<void> | null = null;

  constructor(platform: WorkerPlatform, context: ActivityContext, curve: CheckpointCurve) {
    this.#platform = platform;
    this.#context = context;
    this.#curve = curve;
  }

  add(checkpoint: LocalCheckpoint): void {
    const dropped = this.#waiting;
    this.#waiting = checkpoint;
    if (dropped !== null) void rm(dropped.dir, { recursive: true, force: true });
    this.#uploading ??= this.#run();
  }

  /** Resolves when everything handed in is stored or was given up. */
  async settled(): Promise<void> {
    while (this.#uploading !== null) await this.#uploading;
  }

  async #run(): Promise<void> {
    for (let next = this.#take(); next !== null; next = this.#take()) {
      try {
        await this.#store(next);
      } catch (error) {
        // The newer one will be tried; until then a restart goes further back.
        this.#platform.log.warn({ step: next.step, reason: messageOf(error) }, 'checkpoint not stored');
      }
    }
    this.#uploading = null;
  }

  #take(): LocalCheckpoint | null {
    const next = this.#waiting;
    this.#waiting = null;
    return next;
  }

  async #store({ step, dir }: LocalCheckpoint): Promise<void> {
    await this.#curve.saveInto(dir, step);
    const { jobId, activityId, epoch } = this.#context;
    const owner = { jobId, activity: activityId };
    const { manifestKey, digest } = await saveCheckpoint(this.#platform.store, { ...owner, epoch, step, folder: dir });
    this.#context.checkpointSaved({ step, manifestKey, digest });
    await rm(dir, { recursive: true, force: true });
    const lossAt = (of: number): number | null => this.#curve.validationLossAt(of);
    await pruneCheckpoints(this.#platform.store, owner, { lossAt });
  }
}
