import { setTimeout as delay } from 'node:timers/promises';
import { Value } from '#typebox/value';
import { invariant } from '#lib/kernel/errors.ts';
import { ActivityList, Job, JobList } from './api-answers.ts';
import { PROJECT } from './demo-jobs.ts';
import type { DemoScene } from './demo-platform.ts';
import { both } from './display.ts';
import { followJob, stepsOf, type Watch } from './follow-job.ts';
import { Production } from './production.ts';
import { approverOf, onStatus } from './retrain-approval.ts';
import { PromotionList, RetrainResult, type Signal, SignalList, StoredPolicy } from './retrain-answers.ts';
import { firstIntoProduction, ofModel, storeReference, uploadEras } from './retrain-beginning.ts';
import { COMPARED, EARLY, FIRST_STEPS, LATE, retrainPolicy, SERVED_MODEL } from './retrain-jobs.ts';
import { type Retrained, retrainSummary, tally, unmetOfRetrain } from './retrain-summary.ts';
import { ApiProblem, type RestClient } from './rest-client.ts';
import { sentences, speeches } from './speeches.ts';
import type { Variant } from './variant.ts';
import { wholeNumber } from './whole-number.ts';

/** People ask as they did for so long before they change: two windows and more. */
const CALM_MS = 20_000;
/** Two windows, their lateness, and what a busy machine adds; an alarm that does not come by then does not come. */
const ALARM_WITHIN_MS = 90_000;
const LOOK_EVERY_MS = 500;

/** Real drift: people who speak as in 1940 ask a model of 1850. */
export const retrainVariant: Variant = {
  name: 'retrain',
  summary: 'drift in production, the retrain it triggers, comparison, approval, canary and promotion',
  options: [],
  // One key asks for a whole production.
  overrides: { gateway: { RATE_LIMIT_PER_MINUTE: '60000' } },
  run: async (scene, options) => {
    const steps = wholeNumber(options, 'base-steps', FIRST_STEPS);
    const early = await scene.timed('uploads', () => uploadEras(scene));
    await firstIntoProduction(scene, steps);
    await scene.timed('the reference of version 1', () => storeReference(scene, early.sha256));
    await scene.client.call(StoredPolicy, ofModel('retrain-policy'), { method: 'PUT', body: retrainPolicy(steps) });
    const production = new Production(scene.client, SERVED_MODEL, sentences(speeches(1830, 1870)));
    try {
      const retrained = await driftAndRetrain(scene, production);
      return {
        report: { ...retrained },
        summary: (columns) => retrainSummary(retrained, columns),
        furtherPaths: [
          `/v1/jobs/${retrained.jobId}`,
          `/v1/drift/signals?project=${PROJECT}`,
          ofModel('promotions'),
          ofModel('traffic'),
        ],
        unmet: unmetOfRetrain(retrained),
      };
    } finally {
      await production.stop();
    }
  },
};

/** Calm, drift, alarm, and the job that follows from it, to its end. */
async function driftAndRetrain(scene: DemoScene, production: Production): Promise<Retrained> {
  const { client, console, signal, timed } = scene;
  console.say(`production asks sentences from ${EARLY.title}: nothing should happen`);
  await timed('production as trained for', () => delay(CALM_MS, undefined, { signal }));
  const calm = tally(await signalsOf(scene));
  production.changeTo(sentences(speeches(1930, 1950)));
  console.say('production now asks sentences from the speeches of 1930 to 1949');
  const { jobId, ...alarm } = await timed('from drift to the alarm', () => alarmOf(scene));
  console.say(`alarm by ${alarm.causes.join(', ')}: retrain ${jobId} on ${LATE.title}, compared on ${COMPARED.title}`);
  const result = await timed('retrain, comparison, approval, canary', () => followRetrain(scene, production, jobId));
  const { items: promotions } = await client.call(PromotionList, ofModel('promotions'));
  return {
    jobId,
    ...result,
    calm,
    alarm,
    signals: tally(await signalsOf(scene)),
    promotions,
    answers: Object.fromEntries(production.answers),
  };
}

async function followRetrain(
  scene: DemoScene,
  production: Production,
  jobId: string,
): Promise<Pick<Retrained, 'result' | 'statuses'>> {
  const { client, console, signal } = scene;
  const submitted = await client.call(Job, `/v1/jobs/${jobId}`);
  const approver = await approverOf(scene);
  const steps = withChild(client, jobId);
  const seen = new Set<string>();
  const { job } = await followJob(client, submitted, {
    console,
    signal,
    watch: async (now, activities) => {
      production.throwIfEnded();
      if (!seen.has(now.status)) await onStatus(scene, now, approver);
      seen.add(now.status);
      return steps(now, activities);
    },
  });
  invariant(Value.Check(RetrainResult, job.result), 'a retrain answers what it did');
  return { result: job.result, statuses: [...seen] };
}

/** The retrain, and below it the training that it waits for. */
function withChild(client: RestClient, jobId: string): Watch {
  const own = stepsOf(client, `Retrain of ${SERVED_MODEL}`);
  const child = stepsOf(client, 'its training, a job of its own');
  return async (job, activities) => {
    const display = await own(job, activities);
    const { items } = await client.call(JobList, `/v1/jobs?parent=${jobId}&project=${PROJECT}`);
    const [training] = items;
    if (training === undefined) return display;
    const { items: steps } = await client.call(ActivityList, `/v1/jobs/${training.id}/activities`);
    return both(display, await child(training, steps));
  };
}

/** Newest first, and all of them: a demo has few. */
async function signalsOf({ client }: DemoScene): Promise<readonly Signal[]> {
  const query = `project=${PROJECT}&model=${SERVED_MODEL}&limit=200`;
  return (await client.call(SignalList, `/v1/drift/signals?${query}`)).items;
}

/** The signal that was sent, once it has its job. */
async function alarmOf(scene: DemoScene): Promise<Signal & { readonly jobId: string }> {
  const giveUpAtMs = performance.now() + ALARM_WITHIN_MS;
  for (;;) {
    const sent = (await signalsOf(scene)).find(({ outcome }) => outcome === 'signalled');
    if (sent !== undefined && sent.refusal !== null)
      throw new ApiProblem('RetrainRefused', `the signal ${sent.id} made no job: ${JSON.stringify(sent.refusal)}`);
    if (sent !== undefined && sent.jobId !== null) return { ...sent, jobId: sent.jobId };
    if (performance.now() > giveUpAtMs)
      throw new ApiProblem('NoAlarm', `no alarm within ${ALARM_WITHIN_MS / 1_000} s of drift`);
    await delay(LOOK_EVERY_MS, undefined, { signal: scene.signal });
  }
}
