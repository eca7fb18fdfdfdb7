import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import type { ActivityView, Job, RestClient } from './rest-client.ts';
import { textWithCrumbs, tinyJob } from './tiny-jobs.ts';

/** A step may be over before anybody sees it running, even of a slow worker: then another job gives the next chance. */
const CHANCES = 30;
/** A twentieth of its speed, on a machine where others train. */
const IN_HAND_WITHIN_MS = 90_000;
const SPLIT = { vocabularySize: 300, validationFraction: 0.2 };

/**
 * Calls `act` with a job whose CPU-lane step, which takes a few milliseconds, runs at this moment; returns what it answers. Null: it came too
 * late after all. The caller has made the worker slow (`slowDown`).
 */
export async function inTheAct<T>(
  client: RestClient,
  activity: string,
  act: (job: Job, seen: ActivityView) => Promise<T | null>,
): Promise<T> {
  await client.upload('crumbs', textWithCrumbs());
  for (let chance = 1; chance <= CHANCES; chance++) {
    const names = { key: `${activity}-${chance}`, model: activity.replace('_', '-') };
    // The slow worker would be seconds with the long text before it prepares a workspace. For the other steps another seed each time: the
    // tokens of an earlier job would be found ready.
    const job = await client.submit(
      activity === 'prepare_workspace'
        ? tinyJob(names)
        : tinyJob({
            ...names,
            dataset: 'crumbs',
            spec: { preprocessing: { ...SPLIT, seed: chance + 100 * activity.length } },
          }),
    );
    const seen = await client.activityIs(job.id, activity, ({ state }) => state === 'running' || state === 'done', {
      withinMs: IN_HAND_WITHIN_MS,
      everyMs: 1,
    });
    const done = seen.state === 'running' ? await act(job, seen) : null;
    if (done !== null) return done;
    if (!FINAL_STATUSES.includes((await client.job(job.id)).status)) await client.cancel(job.id);
  }
  throw new Error(`${activity} was never caught running`);
}
