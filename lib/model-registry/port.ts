/** Stages of a model version, in the order of promotion. */
export const STAGES = ['dev', 'staging', 'prod', 'archived'] as const;
export type Stage = (typeof STAGES)[number];

/** Where a version came from. No member that is there is ever null or empty. */
export interface Lineage {
  readonly jobId: string;
  readonly runId: string;
  readonly datasetName: string;
  readonly datasetVersion: string;
  readonly datasetDigest: string;
  readonly configDigest: string;
  readonly codeCommit: string;
  /** Digest of the base model's manifest; for a random start, the digest of the model config. */
  readonly baseModelDigest: string;
  readonly evaluationReportDigest: string;
  readonly manifestDigest: string;
  /** Manifest of the reward model that an aligned model was trained against; only after `ppo`. */
  readonly rewardModelDigest?: string;
  /** The report that the safety gate passed; only of aligned models. */
  readonly safetyReportDigest?: string;
}

export const OPTIONAL_LINEAGE = ['rewardModelDigest', 'safetyReportDigest'] as const;
type OptionalLineage = (typeof OPTIONAL_LINEAGE)[number];
/** The members that every lineage has. */
export type RequiredLineage = Omit<Lineage, OptionalLineage>;

export interface MetricPoint {
  readonly name: string;
  /** Optimiser step, from 0. */
  readonly step: number;
  readonly value: number;
}

export interface RunRecord {
  readonly runId: string;
  readonly project: string;
  readonly jobId: string;
  readonly params: Readonly<Record<string, string>>;
  readonly tags: Readonly<Record<string, string>>;
  /** Addresses of the run's artifacts in the object store. */
  readonly artifactUris: readonly string[];
}

export interface ModelVersion {
  readonly project: string;
  readonly name: string;
  /** Counts from 1 per (project, name) without gaps. */
  readonly version: number;
  readonly stage: Stage;
  readonly manifestKey: string;
  readonly lineage: Lineage;
  readonly tags: Readonly<Record<string, string>>;
  readonly createdAt: string;
}

export interface NewModelVersion {
  readonly project: string;
  readonly name: string;
  /** The dedupe key: at most one version ever exists per (project, name, sourceKey). */
  readonly sourceKey: string;
  readonly manifestKey: string;
  readonly lineage: Lineage;
  readonly tags: Readonly<Record<string, string>>;
}

/**
 * Models, versions, stages, runs and metrics. Built in on Postgres; MLflow implements the same contract later.
 *
 * Guarantees of every implementation (contract suite `model-registry.contract.ts`):
 * - MR-1 `createVersion` with a known `sourceKey` returns the existing version unchanged: retried or raced, exactly one exists.
 * - MR-2 versions of a model are 1, 2, 3 ... without gaps; a version is created in stage `dev`.
 * - MR-3 a lineage that lacks a required member, or has an empty one, is refused (`ValidationFailed`) and stores nothing.
 * - MR-4 `upsertRun`, `logMetrics` are idempotent: the same call again changes nothing; metrics are unique by (run, name, step), the last value wins.
 * - MR-5 at most one version per model is `prod`; `setStage(prod)` archives the former one in the same transaction.
 */
export interface ModelRegistry {
  upsertRun(run: RunRecord): Promise<void>;
  getRun(project: string, runId: string): Promise<RunRecord | null>;
  logMetrics(project: string, runId: string, points: readonly MetricPoint[]): Promise<void>;
  /** By name, then step. */
  metrics(project: string, runId: string): Promise<MetricPoint[]>;
  createVersion(version: NewModelVersion): Promise<ModelVersion>;
  getVersion(project: string, name: string, version: number): Promise<ModelVersion | null>;
  /** The version an alias means: a stage name (`dev` = the newest version in that stage) or `latest`. */
  resolve(project: string, name: string, alias: string): Promise<ModelVersion | null>;
  setStage(project: string, name: string, version: number, stage: Stage): Promise<ModelVersion>;
  setTags(
    project: string,
    name: string,
    version: number,
    tags: Readonly<Record<string, string>>,
  ): Promise<ModelVersion>;
  /** Names with their newest version, by name; `after` is the last name of the page before. */
  listModels(
    project: string,
    page: { limit: number; after?: string },
  ): Promise<{ name: string; latestVersion: number; versions: number }[]>;
  /** Newest first; `before` is the lowest version of the page before. */
  listVersions(project: string, name: string, page: { limit: number; before?: number }): Promise<ModelVersion[]>;
  check(): Promise<void>;
}
