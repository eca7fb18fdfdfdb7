import {
  read,
  type ModelVersionInfo,
  ModelVersionAnswer,
  ModelVersionsAnswer,
  RegisteredModelAnswer,
} from './mlflow-answers.ts';
import type { MlflowCall } from './mlflow-client.ts';
import { ABSENT, EXISTS, INVALID, isRefusal, orAbsent } from './mlflow-failure.ts';
import { type Tag, VERSION_TAG } from './mlflow-tags.ts';

/*
 * Registered models as MLflow has them: its names, its version numbers. Calls may be repeated unless said otherwise.
 */

export interface NewMlflowVersion {
  readonly source: string;
  /** MLflow's id of the run that made it. */
  readonly runId: string | null;
  readonly tags: readonly Tag[];
}

const SEARCH_PAGE = 1_000;

/** Not repeatable: every call makes another version. Makes the registered model when there is none. */
export async function makeVersion(
  call: MlflowCall,
  model: string,
  modelTags: readonly Tag[],
  { source, runId, tags }: NewMlflowVersion,
): Promise<ModelVersionInfo> {
  const body = { name: model, source, tags, ...(runId === null ? {} : { run_id: runId }) };
  const make = (): Promise<unknown> => call({ method: 'POST', path: 'model-versions/create', body, repeatable: false });
  try {
    return read(ModelVersionAnswer, await make()).model_version;
  } catch (error) {
    if (!isRefusal(error, ABSENT)) throw error;
  }
  try {
    await call({ method: 'POST', path: 'registered-models/create', body: { name: model, tags: modelTags } });
  } catch (error) {
    if (!isRefusal(error, EXISTS)) throw error;
  }
  return read(ModelVersionAnswer, await make()).model_version;
}

export async function getVersion(call: MlflowCall, model: string, version: number): Promise<ModelVersionInfo | null> {
  const query = { name: model, version: String(version) };
  const answer = await orAbsent(call({ method: 'GET', path: 'model-versions/get', query }));
  return answer === null ? null : read(ModelVersionAnswer, answer).model_version;
}

/** The versions that carry our number `version`, lowest of MLflow's numbers first; more than one when a lost call was carried out after all. */
export async function versionsOfNumber(call: MlflowCall, model: string, version: number): Promise<ModelVersionInfo[]> {
  const filter = `name = '${model}' and tags.\`${VERSION_TAG}\` = '${version}'`;
  const found: ModelVersionInfo[] = [];
  for await (const page of searchVersions(call, filter)) found.push(...page);
  return found.sort((a, b) => Number(a.version) - Number(b.version));
}

/** Pages of versions, highest of MLflow's numbers first, from `highest` down; absent: all. */
export function versionsDownFrom(
  call: MlflowCall,
  model: string,
  highest?: number,
): AsyncGenerator<ModelVersionInfo[]> {
  const bound = highest === undefined ? '' : ` and version_number <= ${highest}`;
  return searchVersions(call, `name = '${model}'${bound}`);
}

async function* searchVersions(call: MlflowCall, filter: string): AsyncGenerator<ModelVersionInfo[]> {
  let token: string | undefined;
  do {
    const query = {
      filter,
      max_results: String(SEARCH_PAGE),
      order_by: 'version_number DESC',
      ...(token === undefined ? {} : { page_token: token }),
    };
    const answer = read(ModelVersionsAnswer, await call({ method: 'GET', path: 'model-versions/search', query }));
    yield answer.model_versions ?? [];
    token = answer.next_page_token;
  } while (token !== undefined && token !== '');
}

export async function setVersionTag(call: MlflowCall, model: string, version: number, tag: Tag): Promise<void> {
  const body = { name: model, version: String(version), key: tag.key, value: tag.value };
  await call({ method: 'POST', path: 'model-versions/set-tag', body });
}

/** A version that is gone already is fine. */
export async function deleteVersion(call: MlflowCall, model: string, version: string): Promise<void> {
  await orAbsent(call({ method: 'DELETE', path: 'model-versions/delete', body: { name: model, version } }));
}

/** MLflow's version number by alias. */
export async function getAliases(call: MlflowCall, model: string): Promise<Map<string, number>> {
  const answer = read(
    RegisteredModelAnswer,
    await call({ method: 'GET', path: 'registered-models/get', query: { name: model } }),
  );
  return new Map((answer.registered_model.aliases ?? []).map(({ alias, version }) => [alias, Number(version)]));
}

export async function setAlias(call: MlflowCall, model: string, alias: string, version: number): Promise<void> {
  const body = { name: model, alias, version: String(version) };
  await call({ method: 'POST', path: 'registered-models/alias', body });
}

/** An alias that is gone already is fine, whichever way MLflow says so. */
export async function deleteAlias(call: MlflowCall, model: string, alias: string): Promise<void> {
  try {
    await orAbsent(call({ method: 'DELETE', path: 'registered-models/alias', body: { name: model, alias } }));
  } catch (error) {
    if (!isRefusal(error, INVALID)) throw error;
  }
}
