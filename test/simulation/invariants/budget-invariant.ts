import type { SimDatabase } from '../sim-database.ts';
import { isFinalJob } from '../sim-database.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** Sums of seconds are floating-point numbers. */
const ROUNDING = 1e-6;

/** Money: after every transaction that touches it. */
export class BudgetInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #ended = new Set<string>();

  constructor(violations: Violations, database: SimDatabase) {
    this.#violations = violations;
    this.#database = database;
  }

  check(): void {
    const { projects, ledger } = this.#database.budget;
    for (const project of projects.values()) {
      const rows = ledger.filter((row) => row.project === project.id);
      const reserved = rows.reduce((sum, row) => sum + row.reserved, 0);
      const used = rows.reduce((sum, row) => sum + row.used, 0);
      this.#violations.check(
        RULES.budgetSums,
        Math.abs(project.gpuSecondsReserved - reserved) < ROUNDING &&
          Math.abs(project.gpuSecondsUsed - used) < ROUNDING,
        () => `${project.id} says ${JSON.stringify(project)}; its ledger ${reserved} reserved, ${used} used`,
      );
    }
    for (const job of this.#database.jobs.values()) {
      if (isFinalJob(job)) this.#ended.add(job.id);
      const rows = ledger.filter((row) => row.jobId === job.id).map((row) => row.kind);
      // A child's money is its parent's reservation; a job that was retried keeps the row of its first end.
      const expected = [
        ...(job.parentJobId === null ? ['reserve'] : []),
        ...(this.#ended.has(job.id) ? ['settle'] : []),
      ].join(',');
      this.#violations.check(
        RULES.budgetOnce,
        rows.join(',') === expected,
        () => `${job.workflowId} is ${job.status}: ${rows.join(',')}`,
      );
    }
  }

  /** What is booked for a job is the time on GPU slots of all its attempts, those before a retry and the lost ones included. */
  checkUsage(): void {
    for (const job of this.#database.jobs.values()) {
      if (!isFinalJob(job)) continue;
      const lanes = this.#database.activitiesOf(job.workflowId).filter((row) => row.lane === 'gpu');
      const seconds = lanes.reduce((sum, row) => sum + row.usefulMs + row.lostMs, 0) / 1_000;
      const booked = this.#database.budget.ledger.find((row) => row.jobId === job.id && row.kind === 'settle')?.used;
      this.#violations.check(
        RULES.usage,
        booked !== undefined && Math.abs(booked - seconds) < ROUNDING,
        () => `${job.workflowId} used ${seconds} GPU seconds, booked are ${booked}`,
      );
    }
  }

  /** At a submission: what is reserved fits what is free. */
  checkWithinBudget(): void {
    for (const { id, gpuSecondsBudget, gpuSecondsReserved, gpuSecondsUsed } of this.#database.budget.projects.values())
      this.#violations.check(
        RULES.budgetSums,
        gpuSecondsReserved >= 0 &&
          (gpuSecondsReserved === 0 || gpuSecondsReserved + gpuSecondsUsed <= gpuSecondsBudget),
        () => `${id}: ${gpuSecondsReserved} reserved and ${gpuSecondsUsed} used of ${gpuSecondsBudget}`,
      );
  }
}
