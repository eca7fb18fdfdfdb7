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
      const rows = ledger.filter((row) => row.jobId === job.id).map((row) => row.kind);
      const expected = isFinalJob(job) ? 'reserve,settle' : 'reserve';
      this.#violations.check(
        RULES.budgetOnce,
        rows.join(',') === expected,
        () => `${job.workflowId} is ${job.status}: ${rows.join(',')}`,
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
