import { type DatasetVersion, IssuedKey } from './api-answers.ts';
import { PROJECT } from './demo-jobs.ts';
import { type DemoScene, upload } from './demo-platform.ts';
import { jobPhases } from './phases.ts';
import { ask, featuresOf } from './production.ts';
import { Promotion, StoredReference } from './retrain-answers.ts';
import { COMPARED, EARLY, firstVersion, LATE, SERVED_MODEL } from './retrain-jobs.ts';
import { runFineTune, startRun } from './run-job.ts';
import { documentLines, everyFourth, sentences, speeches } from './speeches.ts';

/** Questions whose features are the reference of the first version. */
const REFERENCE_QUESTIONS = 400;

/** A path of the API below the served model. */
export const ofModel = (of: string): string => `/v1/models/${SERVED_MODEL}/${of}?project=${PROJECT}`;

/** The texts of both eras; returns the version that the first model is trained on. */
export async function uploadEras(scene: DemoScene): Promise<DatasetVersion> {
  const { fourth, others } = everyFourth(speeches(1920, 1950));
  const early = await upload(scene, { ...EARLY, body: documentLines(speeches(1830, 1870)) });
  await upload(scene, { ...LATE, body: documentLines(others) });
  await upload(scene, { ...COMPARED, body: documentLines(fourth) });
  return early;
}

export async function firstIntoProduction(scene: DemoScene, steps: number): Promise<void> {
  const title = `version 1, trained on ${EARLY.title}`;
  const { record, wallSeconds } = await runFineTune(startRun(scene, 'demo-retrain'), firstVersion(steps), {
    title,
    heading: title,
  });
  scene.phases.push(...jobPhases(`${SERVED_MODEL}/1`, wallSeconds, record.activities));
  const body = { stage: 'prod', reason: 'the first version' };
  await scene.admin.call(Promotion, ofModel('versions/1/promote'), { method: 'POST', body });
  scene.console.say(`${SERVED_MODEL}/1 is in prod and answers POST /v1/models/${SERVED_MODEL}/completions`);
}

/** What the questions look like that the model was made for: asked for real, with the features that the gateway records. */
export async function storeReference({ client, console }: DemoScene, datasetDigest: string): Promise<void> {
  const prompts = sentences(speeches(1830, 1870));
  const rows: object[] = [];
  // Spread over the whole era.
  for (let at = 0; at < REFERENCE_QUESTIONS; at++) {
    const prompt = prompts[Math.floor((at * prompts.length) / REFERENCE_QUESTIONS)] ?? '';
    rows.push(featuresOf(await ask(client, { model: SERVED_MODEL, prompt, version: 1 })));
  }
  const body = { rows, datasetDigest };
  const stored = await client.call(StoredReference, ofModel('versions/1/reference'), { method: 'PUT', body });
  console.say(`reference of version 1: ${stored.features} features of ${stored.rows} questions from ${EARLY.title}`);
}

/** A key that may decide: nobody approves a job of their own. */
export async function approverKey({ admin }: DemoScene): Promise<string> {
  const body = { role: 'approver', name: 'npm run demo, the approver' };
  return (await admin.call(IssuedKey, `/v1/projects/${PROJECT}/keys`, { method: 'POST', body })).key;
}
