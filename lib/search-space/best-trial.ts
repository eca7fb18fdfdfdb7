import { asLoss, type Direction, objectiveOf, type Trial } from './trial.ts';

/** The completed trial with the best objective; the lowest number among equals; null when none completed with a finite value. */
export function bestTrial(trials: readonly Trial[], direction: Direction): Trial | null {
  let best: { trial: Trial; loss: number } | null = null;
  for (const trial of trials) {
    const value = objectiveOf(trial);
    if (value === null) continue;
    const loss = asLoss(value, direction);
    if (best === null || loss < best.loss || (loss === best.loss && trial.number < best.trial.number))
      best = { trial, loss };
  }
  return best?.trial ?? null;
}
