import { type FieldError, TrainyardError } from '#lib/kernel/errors.ts';
import {
  type Lineage,
  type MetricPoint,
  type NewModelVersion,
  OPTIONAL_LINEAGE,
  type RequiredLineage,
  type RunRecord,
  type Stage,
  STAGES,
} from './port.ts';

/*
 * What every registry accepts. The bounds are those of MLflow 3 (measured on 3.17.2): it cuts longer params and tags silently, refuses
 * other names, and gives back Infinity as another number. Refusing early keeps both registries equal.
 */

/** A model name; MLflow refuses `/` and `:`. */
const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Names of params, tags and metrics in MLflow. */
const FIELD_NAME = /^[A-Za-z0-9_\-. :/]{1,250}$/;
const MAX_PARAM_CHARACTERS = 6_000;
const MAX_TAG_CHARACTERS = 5_000;
const MAX_FIELDS = 1_000;
const MAX_ARTIFACT_URIS = 10_000;
/** One call is one transaction; a training run logs a few thousand points at a time. */
const MAX_METRIC_POINTS = 100_000;
/** Longest page of a listing. */
const MAX_PAGE = 1_000;
/** Keys and digests; the longest is an object key. */
const MAX_TEXT = 1_024;

const LINEAGE_FIELDS: { readonly [K in keyof RequiredLineage]: true } = {
  jobId: true,
  runId: true,
  datasetName: true,
  datasetVersion: true,
  datasetDigest: true,
  configDigest: true,
  codeCommit: true,
  baseModelDigest: true,
  evaluationReportDigest: true,
  manifestDigest: true,
};

/** Throws `ValidationFailed` that names every field which is wrong, as a JSON pointer into the argument. */
export function checkNewVersion(version: NewModelVersion): void {
  refuse(`model version of ${version.project}/${version.name}`, [
    ...text('/project', version.project),
    ...matching('/name', version.name, MODEL_NAME, 'must be letters, digits, . _ - and begin with a letter or digit'),
    ...text('/sourceKey', version.sourceKey),
    ...text('/manifestKey', version.manifestKey),
    // MR-3; the object may come from JSON, so its members are looked up by name.
    ...Object.keys(LINEAGE_FIELDS).flatMap((field) =>
      text(`/lineage/${field}`, (version.lineage as Partial<Lineage>)[field as keyof Lineage]),
    ),
    ...OPTIONAL_LINEAGE.flatMap((field) => {
      const value: unknown = version.lineage[field];
      return value === undefined ? [] : text(`/lineage/${field}`, value);
    }),
    ...fields('/tags', version.tags, MAX_TAG_CHARACTERS),
  ]);
}

/** See `checkNewVersion`. */
export function checkRun(run: RunRecord): void {
  refuse(`run ${run.project}/${run.runId}`, [
    ...text('/project', run.project),
    ...text('/runId', run.runId),
    ...text('/jobId', run.jobId),
    ...fields('/params', run.params, MAX_PARAM_CHARACTERS),
    ...fields('/tags', run.tags, MAX_TAG_CHARACTERS),
    ...(run.artifactUris.length > MAX_ARTIFACT_URIS
      ? [{ pointer: '/artifactUris', message: `has more than ${MAX_ARTIFACT_URIS} members` }]
      : run.artifactUris.flatMap((uri, index) => text(`/artifactUris/${index}`, uri))),
  ]);
}

/** See `checkNewVersion`. */
export const checkTags = (tags: Readonly<Record<string, string>>): void =>
  refuse('tags', fields('/tags', tags, MAX_TAG_CHARACTERS));

/** See `checkNewVersion`; a value that is NaN or infinite is refused, naming the metric and its step. */
export function checkMetrics(points: readonly MetricPoint[]): void {
  if (points.length > MAX_METRIC_POINTS)
    refuse('metrics', [{ pointer: '', message: `has more than ${MAX_METRIC_POINTS} points` }]);
  for (const [index, { name, step, value }] of points.entries()) {
    const problems = matching(`/${index}/name`, name, FIELD_NAME, 'must be letters, digits, _ - . space : /');
    if (!Number.isSafeInteger(step) || step < 0)
      problems.push({ pointer: `/${index}/step`, message: `metric ${name}: step ${step} is no count` });
    if (!Number.isFinite(value))
      problems.push({ pointer: `/${index}/value`, message: `metric ${name} at step ${step} is ${value}` });
    refuse('metrics', problems);
  }
}

/** See `checkNewVersion`. */
export function checkPageLimit(limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
    refuse('page', [{ pointer: '/limit', message: `must be 1 to ${MAX_PAGE}` }]);
}

/** What fits the column; for anything else PostgreSQL would answer with an error instead of nothing. */
export const isVersionNumber = (version: number): boolean =>
  Number.isInteger(version) && version >= 1 && version <= 2_147_483_647;

/** Throws `ValidationFailed` for a stage from outside that is none. */
export function checkStage(stage: Stage): void {
  if (STAGES.includes(stage)) return;
  const allowed = STAGES.join(', ');
  throw new TrainyardError('ValidationFailed', `stage ${JSON.stringify(stage)} is not one of ${allowed}`, {
    fields: [{ pointer: '/stage', message: `must be one of ${allowed}` }],
  });
}

function refuse(what: string, problems: readonly FieldError[]): void {
  if (problems.length === 0) return;
  const named = problems.map(({ pointer, message }) => `${pointer} ${message}`).join('; ');
  throw new TrainyardError('ValidationFailed', `${what}: ${named}`, { fields: problems });
}

function text(pointer: string, value: unknown): FieldError[] {
  if (typeof value !== 'string' || value.trim() === '') return [{ pointer, message: 'must not be empty' }];
  if (value.length > MAX_TEXT) return [{ pointer, message: `is longer than ${MAX_TEXT} characters` }];
  return value.includes('\0') ? [{ pointer, message: 'has a NUL character' }] : [];
}

const matching = (pointer: string, value: string, rule: RegExp, message: string): FieldError[] =>
  rule.test(value) ? [] : [{ pointer, message }];

function fields(pointer: string, values: Readonly<Record<string, string>>, maxCharacters: number): FieldError[] {
  const entries = Object.entries(values);
  if (entries.length > MAX_FIELDS) return [{ pointer, message: `has more than ${MAX_FIELDS} members` }];
  return entries.flatMap(([name, value]) => {
    const at = `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (!FIELD_NAME.test(name))
      return [{ pointer: at, message: 'has a name outside letters, digits, _ - . space : /' }];
    if (typeof value !== 'string') return [{ pointer: at, message: 'must be a string' }];
    if (value.length > maxCharacters) return [{ pointer: at, message: `is longer than ${maxCharacters} characters` }];
    return value.includes('\0') ? [{ pointer: at, message: 'has a NUL character' }] : [];
  });
}
