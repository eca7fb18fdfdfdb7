import { invariant, TrainyardError } from '#lib/kernel/errors.ts';
import type { ModelVersionInfo } from './mlflow-answers.ts';
import type { MlflowCall } from './mlflow-client.ts';
import { bringInLine, type ModelWork, type RefusedVersion, removeTwins } from './mlflow-in-line.ts';
import {
  addModel,
  addVersion,
  adoptVersion,
  decideStage,
  isInLine,
  linkByNumber,
  linkBySource,
  newestLink,
  type VersionLink,
} from './mlflow-links.ts';
import { getVersion, setVersionTag, versionsDownFrom } from './mlflow-models-api.ts';
import { type ModelPlace, registeredModelName } from './mlflow-names.ts';
import { isTagged, pairs, SOURCE_KEY_TAG, STAGE_TAG, VERSION_TAG, versionOfTags } from './mlflow-tags.ts';
import { type ModelVersion, type NewModelVersion, type Stage, STAGES } from './port.ts';

/** The version of a source key. The caller holds the lease of the model. */
export async function createMlflowVersion(work: ModelWork, created: NewModelVersion): Promise<ModelVersion> {
  const { database, lease, model } = work;
  // 1. What earlier calls left: a new model may be known to MLflow, a known one may have an unfinished version.
  if ((await isInLine(database, model)) === null) await adopt(work);
  const refused = await finishEarlier(work);
  // 2. The number, decided before anything is asked of MLflow: from here on this version exists once or is refused.
  if ((await linkBySource(database, model, created.sourceKey)) === null) {
    const newest = await newestLink(database, model, null);
    if (newest !== null) await removeTwins(work, newest);
    await lease.write((tx) => addVersion(tx, model, created));
    refused.push(...(await bringInLine(work)));
  }
  // 3. As MLflow has it.
  const link = await linkBySource(database, model, created.sourceKey);
  const refusal = refused.findLast(({ sourceKey }) => sourceKey === created.sourceKey);
  if (link === null && refusal !== undefined) throw refusal.error;
  invariant(link !== null, 'a version that was asked for is made or refused');
  return requireShown(await readLink(work.call, model, link), model, link.version);
}

/** The version in its new stage. `NotFound` when there is none. The caller holds the lease of the model. */
export async function setMlflowStage(work: ModelWork, version: number, stage: Stage): Promise<ModelVersion> {
  const { call, database, lease, model } = work;
  await finishEarlier(work);
  const link = await linkByNumber(database, model, version);
  // Read before anything is decided: while MLflow is away, a promotion fails without a trace.
  const shown = link === null ? null : await readLink(call, model, link);
  if (link === null || shown === null) throw absent(model, version);
  if (link.stage !== stage) {
    await lease.write((tx) => decideStage(tx, model, version, stage));
    await bringInLine(work);
  }
  return { ...shown, stage };
}

/** The caller holds the lease of the model. A call that dies has set some of the tags; its repetition sets all. */
export async function setMlflowTags(
  work: ModelWork,
  version: number,
  tags: Readonly<Record<string, string>>,
): Promise<ModelVersion> {
  const { call, database, model } = work;
  await finishEarlier(work);
  const link = await linkByNumber(database, model, version);
  const shown = link === null ? null : await readLink(call, model, link);
  if (link?.mlflowVersion == null || shown === null) throw absent(model, version);
  for (const tag of pairs(tags)) await setVersionTag(call, registeredModelName(model), link.mlflowVersion, tag);
  return { ...shown, tags: { ...shown.tags, ...tags } };
}

/** Null for a version that is not there yet, or that somebody deleted in MLflow. */
export async function readLink(call: MlflowCall, model: ModelPlace, link: VersionLink): Promise<ModelVersion | null> {
  if (link.mlflowVersion === null) return null;
  const shown = await getVersion(call, registeredModelName(model), link.mlflowVersion);
  return shown === null ? null : versionOf(model, link, shown);
}

/** The versions of links that are sorted newest first, in that order. Those that somebody deleted in MLflow are missing. */
export async function readLinks(
  call: MlflowCall,
  model: ModelPlace,
  links: readonly VersionLink[],
): Promise<ModelVersion[]> {
  const numbers = links.map(({ mlflowVersion }) => mlflowVersion ?? 0);
  if (numbers.length === 0) return [];
  const lowest = Math.min(...numbers);
  const read = new Map<number, ModelVersion>();
  for await (const page of versionsDownFrom(call, registeredModelName(model), Math.max(...numbers))) {
    for (const shown of page) {
      // More than one when the registered model was deleted and made again: only the newest of them is this version.
      const candidates = links.filter(({ mlflowVersion }) => mlflowVersion === Number(shown.version));
      for (const link of candidates) {
        const version = versionOf(model, link, shown);
        if (version !== null) read.set(link.version, version);
      }
    }
    if (read.size === links.length || Number(page.at(-1)?.version ?? 0) <= lowest) break;
  }
  return links.flatMap(({ version }) => read.get(version) ?? []);
}

/**
 * Null when MLflow's version is another one: a registered model that was deleted and made again counts from 1 again, and an old link must
 * not answer with a new model.
 */
function versionOf(model: ModelPlace, link: VersionLink, shown: ModelVersionInfo): ModelVersion | null {
  const tags = shown.tags ?? [];
  const isOurs = isTagged(tags, VERSION_TAG, String(link.version)) && isTagged(tags, SOURCE_KEY_TAG, link.sourceKey);
  if (!isOurs) return null;
  const { project, name } = model;
  const { version, stage } = link;
  const createdAt = new Date(shown.creation_timestamp).toISOString();
  return versionOfTags(tags, { project, name, version, stage, createdAt });
}

async function finishEarlier(work: ModelWork): Promise<RefusedVersion[]> {
  return (await isInLine(work.database, work.model)) === false ? bringInLine(work) : [];
}

/**
 * A model that our tables do not know but MLflow does: the database was lost or is new. Its versions are taken over with their numbers
 * and stages, so that a repeated job finds its version and a new one does not take a number that is in use.
 */
async function adopt({ call, lease, model }: ModelWork): Promise<void> {
  const found: Parameters<typeof adoptVersion>[2][] = [];
  for await (const page of versionsDownFrom(call, registeredModelName(model)))
    for (const { tags = [], version: mlflowVersion } of page) {
      const values = new Map(tags.map(({ key, value }) => [key, value]));
      const version = Number(values.get(VERSION_TAG));
      const sourceKey = values.get(SOURCE_KEY_TAG);
      const stage = STAGES.find((known) => known === values.get(STAGE_TAG));
      if (!Number.isInteger(version) || version < 1 || sourceKey === undefined || stage === undefined) continue;
      found.push({ version, sourceKey, stage, mlflowVersion: Number(mlflowVersion), mlflowStage: stage });
    }
  // The lowest of MLflow's numbers wins where there are twins, as it does everywhere else.
  found.sort((a, b) => a.mlflowVersion - b.mlflowVersion);
  // One transaction: a model that is known is never looked up again.
  await lease.write(async (tx) => {
    await addModel(tx, model);
    for (const version of found) await adoptVersion(tx, model, version);
  });
}

/** `StateConflict` for a version that our tables know and MLflow does not show any more. */
export function requireShown(version: ModelVersion | null, model: ModelPlace, number: number): ModelVersion {
  if (version !== null) return version;
  throw new TrainyardError('StateConflict', `version ${number} of ${model.name} was deleted or changed in MLflow`, {
    details: { project: model.project, name: model.name, version: number },
  });
}

const absent = ({ project, name }: ModelPlace, version: number): TrainyardError =>
  new TrainyardError('NotFound', `model ${name} of project ${project} has no version ${version}`, {
    details: { project, name, version },
  });
