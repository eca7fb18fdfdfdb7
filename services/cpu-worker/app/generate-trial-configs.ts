import { setImmediate } from 'node:timers/promises';
import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { checkSearchSpace } from '#lib/search-space/check-search-space.ts';
import { nextConfiguration } from '#lib/search-space/sampler.ts';
import type { Trial } from '#lib/search-space/trial.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';

/**
 * The configurations of the next trials of a search, in the order of their numbers; each is chosen with those before it as running trials. A
 * function of its input. Fewer than asked for when the sampler has no more; `ValidationFailed` for a space that means nothing.
 */
export async function generateTrialConfigs(
  _: WorkerPlatform,
  { input, signal, progress }: ActivityContext<ActivityInput<'generate_trial_configs'>>,
): Promise<ActivityOutput<'generate_trial_configs'>> {
  const { space, sampler, direction, seed, history, firstTrial, count } = input;
  const fields = checkSearchSpace(space, sampler.type);
  const [first] = fields;
  if (first !== undefined)
    throw new TrainyardError('ValidationFailed', `the search space is wrong at ${first.pointer}: ${first.message}`, {
      fields,
    });
  const made: Trial[] = [];
  let exhausted: string | null = null;
  for (let number = firstTrial; number < firstTrial + count && exhausted === null; number++) {
    // A thousand configurations of TPE take seconds: heartbeats go out in between.
    await setImmediate();
    signal.throwIfAborted();
    const next = nextConfiguration({
      space,
      sampler,
      direction,
      history: [...history, ...made],
      seed,
      trialNumber: number,
    });
    if (next.ok) made.push(running(number, next.configuration));
    else exhausted = next.reason;
    progress({ step: made.length, stepsTotal: count });
  }
  return { configurations: made.map(({ configuration }) => configuration), exhausted };
}

const running = (number: number, configuration: Trial['configuration']): Trial => ({
  number,
  configuration,
  outcome: 'running',
  value: null,
  lastReport: null,
});
