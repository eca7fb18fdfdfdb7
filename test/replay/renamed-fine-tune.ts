import { createMachine } from 'xstate';
import { fineTune } from '../../services/orchestrator/domain/workflows/fine-tune.ts';

/** Fine-tuning as a careless change would leave it: the state that long workflows wait in has another name. */
export const renamedFineTune = createMachine({
  ...fineTune.config,
  states: Object.fromEntries(
    Object.entries(fineTune.config.states ?? {}).map(([name, node]) => [
      name === 'training' ? 'trainingModel' : name,
      withTargets(node),
    ]),
  ),
} as never);

function withTargets(value: unknown): unknown {
  if (value === 'training') return 'trainingModel';
  if (Array.isArray(value)) return value.map(withTargets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withTargets(member)]));
}
