import type { ActivityContext } from '#lib/worker/activity.ts';
import type { Life } from '../life.ts';
import type { SimDatabase } from '../sim-database.ts';
import type { Simulator } from '../simulator.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** After the last fault an answer needs no longer than this: a retry of the outbox, a poll, a commit. */
export const ANSWERS_WITHIN_MS = 3_000;

const ENDS = ['completed', 'failed', 'yielded'] as const;

/** A worker that lives on gets its answers through, however often the bus was away. */
export class AnswerInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #sim: Simulator;
  readonly #ended: {
    readonly workflowId: string;
    readonly attempt: string;
    readonly life: Life;
    readonly atMs: number;
  }[] = [];

  constructor(violations: Violations, database: SimDatabase, sim: Simulator) {
    this.#sim = sim;
    this.#violations = violations;
    this.#database = database;
  }

  attemptEnded({ workflowId, activityId, epoch }: ActivityContext, life: Life): void {
    const attempt = `${workflowId}:${activityId}:${epoch}`;
    this.#ended.push({ workflowId, attempt, life, atMs: this.#sim.nowMs });
  }

  atEnd(): void {
    for (const { workflowId, attempt, life, atMs } of this.#ended) {
      if (!life.alive || atMs > this.#sim.nowMs - ANSWERS_WITHIN_MS) continue;
      const ids = this.#database.messageIds(workflowId);
      this.#violations.check(
        RULES.answerLost,
        ENDS.some((end) => ids.includes(`${end}:${attempt}`)),
        () => `${attempt} ended on ${life.name}, and its log does not know how`,
      );
    }
  }
}
