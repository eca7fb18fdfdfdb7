/** A project's GPU seconds. */
export interface Budget {
  readonly gpuSecondsBudget: number;
  readonly gpuSecondsReserved: number;
  readonly gpuSecondsUsed: number;
}

export const gpuSecondsFree = (budget: Budget): number =>
  Math.max(0, budget.gpuSecondsBudget - budget.gpuSecondsReserved - budget.gpuSecondsUsed);

/** Null when the estimate fits what is free; else the reason, for people. The same rule as in the statement that reserves. */
export function budgetRefusal(budget: Budget, gpuSecondsEstimate: number): string | null {
  const free = gpuSecondsFree(budget);
  if (gpuSecondsEstimate <= free) return null;
  return `the job is estimated at ${gpuSecondsEstimate} GPU seconds; ${free} of ${budget.gpuSecondsBudget} are free`;
}
