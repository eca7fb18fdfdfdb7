import type { ReceivedMessage } from '#lib/bus/port.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import type { ActivityRow } from '../../../services/orchestrator/app/commit.ts';
import { activityRowOf, loadCell, newCell } from '../../../services/orchestrator/app/cell.ts';
import type { WorkflowRegistry } from '../../../services/orchestrator/domain/workflows/registry.ts';
import { evolve, type WorkflowState } from '../../../services/orchestrator/domain/workflow-state.ts';
import type { Accepted } from '../client.ts';
import { isFinalJob, type SimDatabase } from '../sim-database.ts';
import { storedWorkflow } from '../sim-orchestrator-store.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** A cancel request that was answered reaches the workflow within this time: longer than every fault lasts. */
const CANCEL_TAKES_MS = 45_000;

/** What holds when a run is over. */
export class EndInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #registry: WorkflowRegistry;
  readonly #announced = new Set<string>();

  constructor(violations: Violations, database: SimDatabase, registry: WorkflowRegistry) {
    this.#violations = violations;
    this.#database = database;
    this.#registry = registry;
  }

  /** Remembers the ends that were announced. */
  appended({ headers }: ReceivedMessage): void {
    // A retried job ends again, under another id.
    const [, jobId = ''] = (headers['ce_id'] ?? '').split(':');
    if (headers['ce_type'] === 'JobFinished') this.#announced.add(jobId);
  }

  check(accepted: readonly Accepted[]): void {
    for (const promise of accepted) this.#checkPromise(promise);
    for (const job of this.#database.jobs.values()) {
      const workflow = this.#database.workflows.get(job.workflowId);
      this.#violations.check(
        RULES.jobEnds,
        isFinalJob(job) && workflow?.status === 'done',
        () =>
          `${job.workflowId} is ${job.status}, its workflow ${workflow?.status ?? 'not started'} in ${workflow?.state}`,
      );
      if (workflow === undefined) continue;
      const state = this.#checkFold(job.workflowId);
      this.#violations.check(
        RULES.status,
        state?.finish?.status === job.status && this.#announced.has(job.id),
        () => `${job.workflowId} is shown as ${job.status}, ended as ${state?.finish?.status}`,
      );
    }
  }

  #checkPromise({ jobId, request, cancelledAtMs }: Accepted): void {
    const job = this.#database.jobs.get(jobId);
    const name = `${request.project}.${request.idempotencyKey}`;
    this.#violations.check(RULES.jobLost, job !== undefined, () => `${name} was accepted and is not there`);
    if (job === undefined || cancelledAtMs === null) return;
    const log = this.#database.eventsOf(job.workflowId);
    const cancelled = log.some((event) => event.type === 'CancelRequested');
    const finishedAtMs = job.finishedAt?.getTime() ?? Infinity;
    this.#violations.check(
      RULES.cancelled,
      cancelled || finishedAtMs <= cancelledAtMs + CANCEL_TAKES_MS,
      () => `${name}: cancel was accepted, and it ended ${finishedAtMs - cancelledAtMs} ms later as ${job.status}`,
    );
  }

  /** The fold of the whole log by the shipped code; null when it does not fold. */
  #fold(workflowId: string): WorkflowState | null {
    let state: WorkflowState | null = null;
    try {
      for (const { type, dataJson, atMs } of this.#database.eventsOf(workflowId))
        state = evolve(this.#registry, workflowId, state, { type, data: JSON.parse(dataJson) } as never, atMs).state;
    } catch (error) {
      this.#violations.check(
        RULES.projection,
        false,
        () => `${workflowId}: its log does not fold: ${messageOf(error)}`,
      );
      return null;
    }
    return state;
  }

  /** The whole log folded anew gives the rows that are stored, and the same as from the stored snapshot. */
  #checkFold(workflowId: string): WorkflowState | null {
    const row = this.#database.workflows.get(workflowId);
    if (row === undefined) return null;
    const state = this.#fold(workflowId);
    if (state === null) return null;
    const cell = newCell(workflowId, row.partition);
    loadCell(this.#registry, cell, storedWorkflow(this.#database, row));
    const same = JSON.stringify(cell.state) === JSON.stringify(state);
    this.#violations.check(RULES.projection, same, () => `${workflowId}: its snapshot folds to another state`);
    this.#violations.check(
      RULES.projection,
      state.machine.value === row.state,
      () => `${workflowId} is stored in ${row.state}, folds to ${state.machine.value}`,
    );
    for (const entry of Object.values(state.activities)) {
      const stored = this.#database.activity(workflowId, entry.request.activityId);
      const folded = activityRowOf(cell, entry, 0);
      this.#violations.check(
        RULES.projection,
        stored !== undefined && sameActivity(stored, folded),
        () =>
          `${workflowId} ${entry.request.activityId}: stored ${JSON.stringify(stored)}, folded ${JSON.stringify(folded)}`,
      );
    }
    return state;
  }
}

const sameActivity = (a: ActivityRow, b: ActivityRow): boolean =>
  a.state === b.state &&
  a.epoch === b.epoch &&
  a.failures === b.failures &&
  a.preemptions === b.preemptions &&
  a.waitingMs === b.waitingMs &&
  a.usefulMs === b.usefulMs &&
  a.lostMs === b.lostMs;
