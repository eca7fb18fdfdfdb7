import type { ActivityInput, ActivityOutput } from '#lib/contracts/activities.ts';
import type { WorkerPlatform } from '#lib/worker/worker-service.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import { searchSummary } from '../domain/search-summary.ts';

/** What a search found. A function of its input; `best` is null when no trial completed with a finite objective. */
export async function selectBestTrial(
  _: WorkerPlatform,
  { input: { space, direction, history } }: ActivityContext<ActivityInput<'select_best_trial'>>,
): Promise<ActivityOutput<'select_best_trial'>> {
  return { ...searchSummary(space, history, direction) };
}
