import { invariant } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ModelVersionInfo } from './mlflow-answers.ts';
import type { MlflowCall, MlflowRefusal } from './mlflow-client.ts';
import { INVALID, isRefusal, orAbsent } from './mlflow-failure.ts';
import type { Lease } from './mlflow-leases.ts';
import {
  dropRequest,
  setCreated,
  setInLine,
  setShownStage,
  unfinishedLinks,
  type VersionLink,
  wantedAliases,
} from './mlflow-links.ts';
import {
  deleteAlias,
  deleteVersion,
  getAliases,
  makeVersion,
  setAlias,
  setVersionTag,
  versionsOfNumber,
} from './mlflow-models-api.ts';
import { type ModelPlace, registeredModelName } from './mlflow-names.ts';
import { linkOfRun } from './mlflow-run-links.ts';
import { isTagged, pairs, SOURCE_KEY_TAG, STAGE_TAG, versionTags } from './mlflow-tags.ts';
import { findOrMake } from './mlflow-twins.ts';
import { type Stage, STAGES } from './port.ts';

/** What changing a model needs. `call` confirms the lease before each request. */
export interface ModelWork {
  readonly database: Database;
  readonly lease: Lease;
  readonly call: MlflowCall;
  readonly model: ModelPlace;
  /** Address of an object for MLflow's `source`; null: it has none that MLflow knows. */
  readonly artifactUri: (key: string) => string | null;
}

/** A version that MLflow will never take; its number is free again. */
export interface RefusedVersion {
  readonly sourceKey: string;
  readonly error: MlflowRefusal;
}

/**
 * Brings MLflow in line with what our tables decided for a model: versions that do not exist yet, stage tags, aliases. Repeatable, and
 * right from wherever an earlier call died, so the next call completes what a dead one began. What somebody deleted in MLflow by hand
 * cannot be shown and is passed over.
 *
 * The order of its calls never shows two versions as prod, whether one looks at the alias, at the tags or at both (MR-5): 1. tags of
 * versions that are not prod, the former prod among them; 2. aliases; 3. the tag of prod.
 */
export async function bringInLine(work: ModelWork): Promise<RefusedVersion[]> {
  const { database, lease, model } = work;
  const refused: RefusedVersion[] = [];
  for (const link of await unfinishedLinks(database, model)) {
    const error = link.request === null ? null : await create(work, link);
    if (error !== null) refused.push({ sourceKey: link.sourceKey, error });
  }
  const unfinished = await unfinishedLinks(database, model);
  for (const link of unfinished) if (link.stage !== 'prod') await showStage(work, link);
  await showAliases(work);
  for (const link of unfinished) if (link.stage === 'prod') await showStage(work, link);
  await lease.write((tx) => setInLine(tx, model, true));
  return refused;
}

/**
 * Removes what lost calls left beside a version that exists: a request that the client gave up can be carried out later than its
 * repetition. Such a twin has the same tags and is known to no table of ours.
 */
export async function removeTwins(work: ModelWork, link: VersionLink): Promise<void> {
  const name = registeredModelName(work.model);
  for (const { version } of await findMade(work, link))
    if (Number(version) !== link.mlflowVersion) await deleteVersion(work.call, name, version);
}

async function create(work: ModelWork, link: VersionLink): Promise<MlflowRefusal | null> {
  const { call, database, lease, model } = work;
  const { request, version, stage } = link;
  invariant(request !== null, 'a version to create has a request');
  const name = registeredModelName(model);
  const runId = await linkOfRun(database, { ...model, runId: request.lineage.runId });
  const source = work.artifactUri(request.manifestKey) ?? `trainyard:/${request.manifestKey}`;
  const made = { source, runId, tags: versionTags(request, version, stage) };
  const modelTags = pairs({ 'trainyard.project': model.project, 'trainyard.name': model.name });
  try {
    const kept = await findOrMake({
      find: () => findMade(work, link),
      make: () => makeVersion(call, name, modelTags, made),
      remove: (twin) => deleteVersion(call, name, twin.version),
    });
    await lease.write((tx) => setCreated(tx, model, version, { mlflowVersion: Number(kept.version), stage }));
    return null;
  } catch (error) {
    if (!isRefusal(error, INVALID)) throw error;
    // The number is given back, or it would stay a gap and every later version would wait for this one.
    await lease.write((tx) => dropRequest(tx, model, version));
    return error as MlflowRefusal;
  }
}

/** Versions in MLflow that were made for this one. Another installation's with the same number are none of ours. */
async function findMade({ call, model }: ModelWork, link: VersionLink): Promise<ModelVersionInfo[]> {
  const sameNumber = await versionsOfNumber(call, registeredModelName(model), link.version);
  return sameNumber.filter(({ tags }) => isTagged(tags, SOURCE_KEY_TAG, link.sourceKey));
}

async function showStage({ call, lease, model }: ModelWork, link: VersionLink): Promise<void> {
  const { version, stage, mlflowVersion } = link;
  invariant(mlflowVersion !== null, 'a version whose stage is shown exists');
  await orAbsent(setVersionTag(call, registeredModelName(model), mlflowVersion, { key: STAGE_TAG, value: stage }));
  await lease.write((tx) => setShownStage(tx, model, version, stage));
}

/** `prod` first of all: it moves in one call, so whoever asks for it always gets a version. */
const ALIAS_ORDER: readonly Stage[] = [...STAGES].sort((a, b) => Number(b === 'prod') - Number(a === 'prod'));

async function showAliases({ call, database, model }: ModelWork): Promise<void> {
  const name = registeredModelName(model);
  const wanted = await wantedAliases(database, model);
  if (wanted.size === 0) return;
  const shown = await orAbsent(getAliases(call, name));
  for (const stage of ALIAS_ORDER) {
    const version = wanted.get(stage);
    if (version === shown?.get(stage)) continue;
    if (version !== undefined) await orAbsent(setAlias(call, name, stage, version));
    else await deleteAlias(call, name, stage);
  }
}
