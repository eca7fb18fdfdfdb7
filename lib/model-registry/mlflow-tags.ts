import { type FieldError, TrainyardError } from '#lib/kernel/errors.ts';
import { type Lineage, type ModelVersion, type NewModelVersion, OPTIONAL_LINEAGE, type Stage } from './port.ts';

export interface Tag {
  readonly key: string;
  readonly value: string;
}

export const VERSION_TAG = 'trainyard.version';
export const SOURCE_KEY_TAG = 'trainyard.source_key';
export const STAGE_TAG = 'trainyard.stage';
const MANIFEST_KEY_TAG = 'trainyard.manifest_key';

/** Where each member of the lineage stands. */
const LINEAGE_TAGS: { readonly [K in keyof Lineage]-?: string } = {
  jobId: 'trainyard.job_id',
  runId: 'trainyard.run_id',
  datasetName: 'trainyard.dataset_name',
  datasetVersion: 'trainyard.dataset_version',
  datasetDigest: 'trainyard.dataset_digest',
  configDigest: 'trainyard.config_digest',
  codeCommit: 'trainyard.code_commit',
  baseModelDigest: 'trainyard.base_model_digest',
  evaluationReportDigest: 'trainyard.evaluation_report_digest',
  manifestDigest: 'trainyard.manifest_digest',
  rewardModelDigest: 'trainyard.reward_model_digest',
  safetyReportDigest: 'trainyard.safety_report_digest',
};
const LINEAGE_FIELDS = Object.entries(LINEAGE_TAGS) as [keyof Lineage, string][];

const isOptional = (field: keyof Lineage): boolean => (OPTIONAL_LINEAGE as readonly string[]).includes(field);

const VERSION_TAGS = new Set([
  'trainyard.project',
  'trainyard.name',
  VERSION_TAG,
  SOURCE_KEY_TAG,
  STAGE_TAG,
  MANIFEST_KEY_TAG,
  ...Object.values(LINEAGE_TAGS),
]);

/** Tags of a run that are ours; the addresses of its artifacts stand in `trainyard.artifacts.<n>`. */
export const RUN_TAGS = {
  key: 'trainyard.run_key',
  runId: 'trainyard.run_id',
  project: 'trainyard.project',
  jobId: 'trainyard.job_id',
} as const;
export const ARTIFACTS_TAG = /^trainyard\.artifacts\.(\d+)$/;

const isOurRunTag = (key: string): boolean =>
  (Object.values(RUN_TAGS) as string[]).includes(key) || ARTIFACTS_TAG.test(key);

/** Everything a new version carries. They are part of the call that makes it, so no version ever lacks one. */
export function versionTags(created: NewModelVersion, version: number, stage: Stage): Tag[] {
  const ours = {
    'trainyard.project': created.project,
    'trainyard.name': created.name,
    [VERSION_TAG]: String(version),
    [SOURCE_KEY_TAG]: created.sourceKey,
    [STAGE_TAG]: stage,
    [MANIFEST_KEY_TAG]: created.manifestKey,
  };
  return [
    ...pairs(ours),
    ...LINEAGE_FIELDS.flatMap(([field, key]) => {
      const value = created.lineage[field];
      return value === undefined ? [] : [{ key, value }];
    }),
    ...pairs(created.tags),
  ];
}

/** The version that tags describe; null when one of ours was removed in MLflow. Number and stage are those of our tables. */
export function versionOfTags(
  tags: readonly Tag[],
  known: Pick<ModelVersion, 'project' | 'name' | 'version' | 'stage' | 'createdAt'>,
): ModelVersion | null {
  const values = new Map(tags.map(({ key, value }) => [key, value]));
  const manifestKey = values.get(MANIFEST_KEY_TAG);
  const lineage: Partial<Record<keyof Lineage, string>> = {};
  for (const [field, key] of LINEAGE_FIELDS) {
    const value = values.get(key);
    if (value !== undefined) lineage[field] = value;
    else if (!isOptional(field)) return null;
  }
  if (manifestKey === undefined) return null;
  return { ...known, manifestKey, lineage: lineage as Lineage, tags: userTags(tags, (key) => VERSION_TAGS.has(key)) };
}

/** The tags that the caller of `upsertRun` gave. */
export const runTagsOfUser = (tags: readonly Tag[]): Record<string, string> => userTags(tags, isOurRunTag);

/** Throws `ValidationFailed` for tags that would overwrite ours or MLflow's own. */
export function refuseReservedTags(tags: Readonly<Record<string, string>>, of: 'version' | 'run'): void {
  const isOurs = of === 'version' ? (key: string) => VERSION_TAGS.has(key) : isOurRunTag;
  const problems: FieldError[] = Object.keys(tags)
    .filter((key) => isOurs(key) || isMlflows(key))
    .map((key) => ({ pointer: `/tags/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, message: 'is reserved' }));
  if (problems.length === 0) return;
  const named = problems.map(({ pointer }) => pointer).join(', ');
  throw new TrainyardError('ValidationFailed', `names of tags that are reserved: ${named}`, { fields: problems });
}

/** MLflow writes such tags by itself, e.g. `mlflow.runName`. */
const isMlflows = (key: string): boolean => key.startsWith('mlflow.');

export const isTagged = (tags: readonly Tag[] | undefined, key: string, value: string): boolean =>
  tags?.some((tag) => tag.key === key && tag.value === value) ?? false;

export const pairs = (values: Readonly<Record<string, string>>): Tag[] =>
  Object.entries(values).map(([key, value]) => ({ key, value }));

const userTags = (tags: readonly Tag[], isOurs: (key: string) => boolean): Record<string, string> =>
  Object.fromEntries(tags.filter(({ key }) => !isOurs(key) && !isMlflows(key)).map(({ key, value }) => [key, value]));
