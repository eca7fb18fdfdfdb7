import type { Database } from '#lib/postgres/database.ts';
import { MlflowClient } from './mlflow-client.ts';
import type { MlflowAddress } from './mlflow-address.ts';
import { asMlflowFailure } from './mlflow-failure.ts';
import type { ModelWork } from './mlflow-in-line.ts';
import { LEASE_TIMES, Leases, type LeaseTimes } from './mlflow-leases.ts';
import { isInLine, linkByNumber, linkBySource, newestLink, pageOfLinks, pageOfModels } from './mlflow-links.ts';
import { logMlflowMetrics, readMlflowMetrics } from './mlflow-metrics.ts';
import { type ModelPlace, registeredModelName } from './mlflow-names.ts';
import type { RunPlace } from './mlflow-run-links.ts';
import { readMlflowRun, type RunWork, upsertMlflowRun } from './mlflow-runs.ts';
import { refuseReservedTags } from './mlflow-tags.ts';
import {
  createMlflowVersion,
  readLink,
  readLinks,
  requireShown,
  setMlflowStage,
  setMlflowTags,
} from './mlflow-versions.ts';
import {
  type MetricPoint,
  type ModelRegistry,
  type ModelVersion,
  type NewModelVersion,
  type RunRecord,
  type Stage,
  STAGES,
} from './port.ts';
import {
  checkMetrics,
  checkNewVersion,
  checkPageLimit,
  checkRun,
  checkStage,
  checkTags,
  isVersionNumber,
} from './validation.ts';

export interface MlflowRegistryOptions extends MlflowAddress {
  readonly database: Database;
  /** Address of an object for MLflow's `source`, e.g. s3://bucket/key; null: it has none that MLflow knows. Default: always null. */
  readonly artifactUri?: (key: string) => string | null;
  /** For tests. */
  readonly fetch?: typeof fetch;
  readonly wait?: (ms: number) => Promise<unknown>;
  readonly leaseTimes?: LeaseTimes;
}

/**
 * The model registry in MLflow 3 (docs/decisions/0009). Content lies in MLflow: runs, metrics, versions with their lineage as tags, stages as
 * aliases and a tag. What MLflow has no transactions for lies in our tables (migration 0009): numbers, dedupe keys, stages, and leases that
 * let one caller of all processes change a model or run. Any number of processes may use it at once.
 *
 * What the port leaves open is as in the built-in one. Tags named like ours or `mlflow.*` are `ValidationFailed`. A version that somebody
 * deleted in MLflow is null. MLflow or the database away = `RegistryUnavailable`; the same call again completes what was begun.
 */
export class MlflowModelRegistry implements ModelRegistry {
  readonly #options: MlflowRegistryOptions;
  readonly #client: MlflowClient;
  readonly #leases: Leases;

  constructor(options: MlflowRegistryOptions) {
    this.#options = options;
    this.#client = new MlflowClient(options);
    this.#leases = new Leases(options.database, options.leaseTimes ?? LEASE_TIMES);
  }

  async upsertRun(run: RunRecord): Promise<void> {
    checkRun(run);
    refuseReservedTags(run.tags, 'run');
    await this.#changeRun(run.project, run.runId, (work) => upsertMlflowRun(work, run));
  }

  async getRun(project: string, runId: string): Promise<RunRecord | null> {
    return guarded(() => readMlflowRun(this.#database, this.#client.call, this.#run(project, runId)));
  }

  async logMetrics(project: string, runId: string, points: readonly MetricPoint[]): Promise<void> {
    checkMetrics(points);
    await this.#changeRun(project, runId, (work) => logMlflowMetrics(work, points));
  }

  async metrics(project: string, runId: string): Promise<MetricPoint[]> {
    return guarded(() => readMlflowMetrics(this.#database, this.#client.call, this.#run(project, runId)));
  }

  async createVersion(version: NewModelVersion): Promise<ModelVersion> {
    checkNewVersion(version);
    refuseReservedTags(version.tags, 'version');
    const model = this.#model(version.project, version.name);
    registeredModelName(model);
    return guarded(async () => {
      // A retry is the usual second call: it needs no lease.
      const known = await linkBySource(this.#database, model, version.sourceKey);
      if (known !== null && known.mlflowVersion !== null && (await isInLine(this.#database, model)) === true)
        return requireShown(await readLink(this.#client.call, model, known), model, known.version);
      return this.#changeModel(model, (work) => createMlflowVersion(work, version));
    });
  }

  async getVersion(project: string, name: string, version: number): Promise<ModelVersion | null> {
    if (!isVersionNumber(version)) return null;
    const model = this.#model(project, name);
    return guarded(async () => {
      const link = await linkByNumber(this.#database, model, version);
      return link === null ? null : readLink(this.#client.call, model, link);
    });
  }

  async resolve(project: string, name: string, alias: string): Promise<ModelVersion | null> {
    const stage = STAGES.find((known) => known === alias) ?? null;
    if (stage === null && alias !== 'latest') return null;
    const model = this.#model(project, name);
    return guarded(async () => {
      const link = await newestLink(this.#database, model, stage);
      return link === null ? null : readLink(this.#client.call, model, link);
    });
  }

  async setStage(project: string, name: string, version: number, stage: Stage): Promise<ModelVersion> {
    checkStage(stage);
    return this.#changeModel(this.#model(project, name), (work) => setMlflowStage(work, version, stage));
  }

  async setTags(
    project: string,
    name: string,
    version: number,
    tags: Readonly<Record<string, string>>,
  ): Promise<ModelVersion> {
    checkTags(tags);
    refuseReservedTags(tags, 'version');
    return this.#changeModel(this.#model(project, name), (work) => setMlflowTags(work, version, tags));
  }

  async listModels(
    project: string,
    page: { limit: number; after?: string },
  ): Promise<{ name: string; latestVersion: number; versions: number }[]> {
    checkPageLimit(page.limit);
    return guarded(() => pageOfModels(this.#database, this.#options.namespace, project, page));
  }

  async listVersions(project: string, name: string, page: { limit: number; before?: number }): Promise<ModelVersion[]> {
    checkPageLimit(page.limit);
    if (page.before !== undefined && !isVersionNumber(page.before)) return [];
    const model = this.#model(project, name);
    return guarded(async () => readLinks(this.#client.call, model, await pageOfLinks(this.#database, model, page)));
  }

  async check(): Promise<void> {
    await guarded(async () => {
      await this.#database.query('select 1 from registry_mlflow_models limit 1');
      // Unlike /health this call passes MLflow's guards of host names and its login.
      // One try: a probe of readiness is given 2 s, and has to say why.
      await this.#client.callOnce({ method: 'POST', path: 'experiments/search', body: { max_results: 1 } });
    });
  }

  get #database(): Database {
    return this.#options.database;
  }

  #model(project: string, name: string): ModelPlace {
    return { namespace: this.#options.namespace, project, name };
  }

  #run(project: string, runId: string): RunPlace {
    return { namespace: this.#options.namespace, project, runId };
  }

  async #changeModel<T>(model: ModelPlace, change: (work: ModelWork) => Promise<T>): Promise<T> {
    const { artifactUri = () => null } = this.#options;
    const resource = `model:${JSON.stringify([model.namespace, model.project, model.name])}`;
    return this.#underLease(resource, (common) => change({ ...common, model, artifactUri }));
  }

  async #changeRun(project: string, runId: string, change: (work: RunWork) => Promise<void>): Promise<void> {
    const place = this.#run(project, runId);
    const resource = `run:${JSON.stringify([place.namespace, project, runId])}`;
    await this.#underLease(resource, (common) => change({ ...common, place }));
  }

  async #underLease<T>(
    resource: string,
    change: (common: Pick<RunWork, 'database' | 'lease' | 'call'>) => Promise<T>,
  ): Promise<T> {
    return guarded(() =>
      this.#leases.hold(resource, (lease) =>
        change({
          database: this.#database,
          lease,
          call: async (request) => {
            await lease.confirm();
            return this.#client.call(request);
          },
        }),
      ),
    );
  }
}

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asMlflowFailure(error);
  }
}
