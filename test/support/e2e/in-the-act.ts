import { FINAL_STATUSES } from '#lib/contracts/jobs.ts';
import { eventually } from '../eventually.ts';
import type { ActivityView, Job, RestClient } from './rest-client.ts';
import { textWithCrumbs, tinyJob } from './tiny-jobs.ts';

/** A step may be over before anybody sees it running, even of a slow worker: then another job gives the next chance. */
const CHANCES = 10;
/** A twentieth of its speed, on a machine where others train. */
const IN_HAND_WITHIN_MS = 90_000;

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
    // Another seed of preprocessing each time: the tokens of an earlier job would be found ready.
    const spec = {
      preprocessing: { vocabularySize: 300, validationFraction: 0.2, seed: chance + 10 * activity.length },
    };
    // Preprocessing would take the slow worker seconds on the long text.
    const dataset = activity === 'prepare_workspace' ? 'tiny' : 'crumbs';
    const names = { key: `${activity}-${chance}`, model: activity.replace('_', '-') };
    const job = await client.submit(tinyJob({ ...names, dataset, spec }));
    const seen = await eventually(
      async () => {
        const found = await client.activity(job.id, activity);
        return (found?.state === 'running' || found?.state === 'done') && found;
      },
      { withinMs: IN_HAND_WITHIN_MS, everyMs: 1 },
    );
    const done = seen.state === 'running' ? await act(job, seen) : null;
    if (done !== null) return done;
    if (!FINAL_STATUSES.includes((await client.job(job.id)).status)) await client.cancel(job.id);
  }
  throw new Error(`${activity} was never caught running`);
}
