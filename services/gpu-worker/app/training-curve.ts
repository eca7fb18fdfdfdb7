import { createWriteStream, type WriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ActivityContext, MetricPoint } from '#lib/worker/activity.ts';

/** Beside the trainer's own files in every stored checkpoint. */
const CURVE_FILE = 'trainyard-curve.jsonl';

/** The metric by which every training method is measured on data it does not learn from. */
const VALIDATION_LOSS = 'validation.loss';

/** Points a checkpoint carries at most, about 600 kB; the built-in trainer reports some 200, whatever the number of steps. */
const MAX_CARRIED_POINTS = 10_000;

/**
 * The curves of one attempt: to the heartbeats, and to a file that is uploaded with the result. Every checkpoint carries the points up to its
 * step: those that waited for the next heartbeat when the worker died, and the file on the disk of a node that is gone, come back with it.
 */
export class TrainingCurve {
  readonly #context: ActivityContext;
  readonly #file: WriteStream;
  readonly #points: MetricPoint[] = [];

  constructor(context: ActivityContext, path: string) {
    this.#context = context;
    this.#file = createWriteStream(path, { flags: 'a' });
  }

  add(point: MetricPoint): void {
    this.#context.metrics([point]);
    this.#file.write(`${JSON.stringify(point)}\n`);
    if (this.#points.length < MAX_CARRIED_POINTS) this.#points.push(point);
  }

  /** Takes over what the checkpoint in `dir` carries; one without a curve is fine. */
  async resume(dir: string): Promise<void> {
    const text = await readFile(join(dir, CURVE_FILE), 'utf8').catch(() => '');
    for (const line of text.split('\n')) if (line !== '') this.add(JSON.parse(line) as MetricPoint);
  }

  /** Into the folder of a checkpoint that is about to be stored. */
  async saveInto(dir: string, step: number): Promise<void> {
    const lines = this.#points.filter((point) => point.step <= step).map((point) => `${JSON.stringify(point)}\n`);
    await writeFile(join(dir, CURVE_FILE), lines.join(''));
  }

  /** The newest measurement at or before `step`; null when there is none. */
  validationLossAt(step: number): number | null {
    const measured = this.#points.filter((point) => point.name === VALIDATION_LOSS && point.step <= step);
    return measured.reduce<MetricPoint | null>((a, b) => (a !== null && a.step > b.step ? a : b), null)?.value ?? null;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#file.end(resolve));
  }
}
