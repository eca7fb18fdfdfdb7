/** What a model says about the completions of one pair: rewards, or log-probabilities with those of the reference. */
export interface PairValues {
  readonly chosen: number;
  readonly rejected: number;
}

/** Names as of TRL's RewardTrainer. */
export function rewardMetrics(pairs: readonly PairValues[]): Record<string, number> {
  return {
    accuracy: meanOf(pairs, ({ chosen, rejected }) => (chosen > rejected ? 1 : 0)),
    margin: meanOf(pairs, ({ chosen, rejected }) => chosen - rejected),
    mean_reward: meanOf(pairs, ({ chosen, rejected }) => (chosen + rejected) / 2),
  };
}

/** Names as of TRL's DPOTrainer; `policy` and `reference` are log-probabilities of the same pairs. */
export function dpoMetrics(
  policy: readonly PairValues[],
  reference: readonly PairValues[],
  beta: number,
): Record<string, number> {
  const rewards = policy.map(({ chosen, rejected }, pair) => ({
    chosen: beta * (chosen - (reference[pair]?.chosen ?? Number.NaN)),
    rejected: beta * (rejected - (reference[pair]?.rejected ?? Number.NaN)),
  }));
  return {
    'rewards/chosen': meanOf(rewards, ({ chosen }) => chosen),
    'rewards/rejected': meanOf(rewards, ({ rejected }) => rejected),
    'rewards/margins': meanOf(rewards, ({ chosen, rejected }) => chosen - rejected),
    'rewards/accuracies': meanOf(rewards, ({ chosen, rejected }) => (chosen > rejected ? 1 : 0)),
    'logps/chosen': meanOf(policy, ({ chosen }) => chosen),
    'logps/rejected': meanOf(policy, ({ rejected }) => rejected),
  };
}

/** Mean of `-log sigmoid(x)`, without overflow at either end. */
export const meanLogisticLoss = (differences: readonly number[]): number =>
  meanOf(differences, (x) => Math.max(0, -x) + Math.log1p(Math.exp(-Math.abs(x))));

function meanOf<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0) / items.length;
}
