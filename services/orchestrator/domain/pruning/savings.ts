/** What a trial of a finished search used. */
export interface TrialUsage {
  readonly trial: number;
  readonly outcome: 'completed' | 'pruned' | 'failed' | 'cancelled';
  /** Steps that count for it, repeated ones after a crash left out. */
  readonly steps: number;
  /** Steps it would have done. */
  readonly plannedSteps: number;
  readonly gpuSeconds: number;
}

export interface SearchSavings {
  readonly stepsRun: number;
  /** Steps of pruned trials that were never run. */
  readonly stepsSaved: number;
  /** Saved share of what every trial would have run, 0 to 1; trials that failed or were cancelled count as far as they came. */
  readonly savedFraction: number;
  readonly gpuSecondsUsed: number;
  /** An estimate: the steps that were never run at the trial's own pace; at the pace of all trials when it ran no step. */
  readonly gpuSecondsSaved: number;
}

/** What pruning saved against running every trial to its end. Only pruned trials save: a failure is no saving. */
export function searchSavings(trials: readonly TrialUsage[]): SearchSavings {
  const stepsRun = sum(trials.map(({ steps }) => steps));
  const gpuSecondsUsed = sum(trials.map(({ gpuSeconds }) => gpuSeconds));
  const pace = stepsRun === 0 ? 0 : gpuSecondsUsed / stepsRun;
  const saved = trials
    .filter(({ outcome }) => outcome === 'pruned')
    .map((trial) => {
      const steps = Math.max(0, trial.plannedSteps - trial.steps);
      return { steps, gpuSeconds: steps * (trial.steps === 0 ? pace : trial.gpuSeconds / trial.steps) };
    });
  const stepsSaved = sum(saved.map(({ steps }) => steps));
  const all = stepsRun + stepsSaved;
  return {
    stepsRun,
    stepsSaved,
    savedFraction: all === 0 ? 0 : stepsSaved / all,
    gpuSecondsUsed,
    gpuSecondsSaved: sum(saved.map(({ gpuSeconds }) => gpuSeconds)),
  };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
