import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { Run } from './mlflow-answers.ts';
import type { MlflowCall } from './mlflow-client.ts';
import type { Lease } from './mlflow-leases.ts';
import { experimentName, runKey } from './mlflow-names.ts';
import { addRunLink, linkOfRun, type RunPlace } from './mlflow-run-links.ts';
import {
  deleteRun,
  deleteRunTag,
  ensureExperiment,
  finishRun,
  getRun,
  logBatches,
  makeRun,
  runsOfKey,
} from './mlflow-runs-api.ts';
import { ARTIFACTS_TAG, pairs, RUN_TAGS, runTagsOfUser, type Tag } from './mlflow-tags.ts';
import { findOrMake } from './mlflow-twins.ts';
import type { RunRecord } from './port.ts';

/** What changing a run needs. `call` confirms the lease before each request. */
export interface RunWork {
  readonly database: Database;
  readonly lease: Lease;
  readonly call: MlflowCall;
  readonly place: RunPlace;
}

/** MLflow cuts tags of a run at 8,000 characters without a word. */
const MAX_ARTIFACTS_TAG_CHARACTERS = 7_500;

/**
 * Makes the run or merges into it. What is there already is not sent again, so a repetition changes nothing and completes a call that died
 * half-way. `StateConflict` for another job or another value of a param, before anything is written: MLflow would refuse the param after
 * it took batches before it.
 */
export async function upsertMlflowRun(work: RunWork, run: RunRecord): Promise<void> {
  const { call } = work;
  const shown = await ensureRun(work, run);
  const params = valuesOf(shown.data.params);
  const tags = valuesOf(shown.data.tags);
  const changes = Object.entries(run.params).some(([name, value]) => (params.get(name) ?? value) !== value);
  if (changes || tags.get(RUN_TAGS.jobId) !== run.jobId)
    throw new TrainyardError(
      'StateConflict',
      `run ${run.runId} exists with another job or other values of its params`,
      {
        details: { project: run.project, runId: run.runId },
      },
    );
  const artifacts = artifactTags(run.artifactUris);
  const mlflowRunId = shown.info.run_id;
  await logBatches(call, mlflowRunId, {
    params: pairs(run.params).filter(({ key }) => !params.has(key)),
    tags: [...pairs(run.tags), ...artifacts].filter(({ key, value }) => tags.get(key) !== value),
  });
  const keys = new Set(artifacts.map(({ key }) => key));
  for (const key of tags.keys())
    if (ARTIFACTS_TAG.test(key) && !keys.has(key)) await deleteRunTag(call, mlflowRunId, key);
  // The platform records a run when its training is over; MLflow would show it as running for ever.
  if (shown.info.status !== 'FINISHED') await finishRun(call, mlflowRunId, Date.now());
}

/** The run as MLflow has it, made if need be. It carries its project, id and job from its first moment. */
async function ensureRun(work: RunWork, run: RunRecord): Promise<Run> {
  const { database, call, lease, place } = work;
  const known = await linkOfRun(database, place);
  const shown = known === null ? null : await getRun(call, known);
  if (shown !== null) return shown;
  const key = runKey(place.namespace, place.project, place.runId);
  const experimentId = await ensureExperiment(call, experimentName(place.namespace, place.project));
  const tags = pairs({
    [RUN_TAGS.key]: key,
    [RUN_TAGS.runId]: run.runId,
    [RUN_TAGS.project]: run.project,
    [RUN_TAGS.jobId]: run.jobId,
  });
  const kept = await findOrMake({
    find: () => runsOfKey(call, experimentId, key),
    make: () => makeRun(call, { experimentId, name: run.runId, startTimeMs: Date.now(), tags }),
    remove: (twin) => deleteRun(call, twin.info.run_id),
  });
  await lease.write((tx) => addRunLink(tx, place, kept.info.run_id));
  return kept;
}

/** Null for a run that was never upserted. */
export async function readMlflowRun(database: Database, call: MlflowCall, place: RunPlace): Promise<RunRecord | null> {
  const known = await linkOfRun(database, place);
  const shown = known === null ? null : await getRun(call, known);
  if (shown === null) return null;
  const tags = shown.data.tags ?? [];
  return {
    runId: place.runId,
    project: place.project,
    jobId: valuesOf(tags).get(RUN_TAGS.jobId) ?? '',
    params: Object.fromEntries(valuesOf(shown.data.params)),
    tags: runTagsOfUser(tags),
    artifactUris: artifactsOfTags(tags),
  };
}

/** The addresses as JSON lists in as many tags as their lengths ask for. */
export function artifactTags(uris: readonly string[]): Tag[] {
  const lists: string[][] = [];
  let characters = 0;
  for (const uri of uris) {
    const size = JSON.stringify(uri).length + 1;
    const list = lists.at(-1);
    if (list !== undefined && characters + size <= MAX_ARTIFACTS_TAG_CHARACTERS) list.push(uri);
    else lists.push([uri]);
    characters = lists.at(-1) === list ? characters + size : size;
  }
  return lists.map((list, index) => ({ key: `trainyard.artifacts.${index}`, value: JSON.stringify(list) }));
}

export function artifactsOfTags(tags: readonly Tag[]): string[] {
  return tags
    .map(({ key, value }) => ({ index: Number(ARTIFACTS_TAG.exec(key)?.[1] ?? -1), value }))
    .filter(({ index }) => index >= 0)
    .sort((a, b) => a.index - b.index)
    .flatMap(({ value }) => JSON.parse(value) as string[]);
}

const valuesOf = (tags: readonly Tag[] | undefined): Map<string, string> =>
  new Map((tags ?? []).map(({ key, value }) => [key, value]));
