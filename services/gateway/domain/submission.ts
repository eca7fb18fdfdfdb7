import { type Static, Type } from '#typebox';
import { Value } from '#typebox/value';
import { IdempotencyKey, JOB_TYPES, type JobType, Name, PRIORITIES, type Priority } from '#lib/contracts/jobs.ts';
import type { ErrorCode } from '#lib/kernel/error-catalogue.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { explain } from './field-errors.ts';
import type { JobKind } from './job-kinds/job-kind.ts';
import { jobKind } from './job-kinds/registry.ts';
import { unstorable } from './storable.ts';

const NAME_PATTERN = (Name as unknown as { pattern: string }).pattern;
// Not Type.Record: `Value.Default` of TypeBox 1.4 throws on one that refuses further names.
const labels = (options: { default?: Record<string, string> }) =>
  Type.Unsafe<Record<string, string>>({
    type: 'object',
    patternProperties: { [NAME_PATTERN]: Type.String({ maxLength: 256 }) },
    additionalProperties: false,
    maxProperties: 32,
    description: 'names and values of your own, to find jobs by',
    ...options,
  });
const description = (options: { default?: string }) => Type.String({ maxLength: 4_000, ...options });

/** Everything of a submission but `spec`, whose schema belongs to the type. */
export const SUBMISSION_MEMBERS = {
  project: Type.Optional(Name),
  idempotencyKey: Type.Optional(IdempotencyKey),
  priority: Type.Unsafe<Priority>(
    Type.Union(
      PRIORITIES.map((priority) => Type.Literal(priority)),
      { default: 'normal' },
    ),
  ),
  labels: labels({ default: {} }),
  description: description({ default: '' }),
};

/** Members of a job that may be changed later; at least one. */
export const JobChange = Type.Object(
  { labels: Type.Optional(labels({})), description: Type.Optional(description({})) },
  { additionalProperties: false, minProperties: 1 },
);

const Envelope = Type.Object(
  {
    type: Type.Unsafe<JobType>(Type.Union(JOB_TYPES.map((type) => Type.Literal(type)))),
    ...SUBMISSION_MEMBERS,
    spec: Type.Unknown(),
  },
  { additionalProperties: false },
);

/** A submission that matches its schemas, with every default filled in; `spec` matches the schema of its type. */
export type Submission = Readonly<Static<typeof Envelope>>;

export type Parsed =
  | { readonly ok: true; readonly submission: Submission }
  | { readonly ok: false; readonly code: ErrorCode; readonly reason: string; readonly fields: readonly FieldError[] };

/**
 * Checks a body against the envelope's schema and the spec's, and fills in the defaults. `headerKey` is the `Idempotency-Key` header; the
 * key may come in the body, in the header, or equal in both. A dry run needs none.
 */
export function parseSubmission(body: unknown, headerKey: string | undefined, dryRun: boolean): Parsed {
  const odd = unstorable(body);
  if (odd.length > 0)
    return { ok: false, code: 'ValidationFailed', reason: 'the job contains text that cannot be stored', fields: odd };
  // 1. The envelope; the spec too, when its type is known, so that one answer names every field.
  const filled = Value.Default(Envelope, Value.Clone(body)) as Record<string, unknown>;
  const fields = explain(Envelope, filled);
  const type = JOB_TYPES.find((known) => known === filled?.['type']);
  const kind = type === undefined ? null : jobKind(type);
  const spec = kind === null ? undefined : fillSpec(kind, filled['spec']);
  if (kind !== null && filled['spec'] !== undefined) fields.push(...explain(kind.spec, spec, '/spec'));

  // 2. One key, from either place.
  const bodyKey = filled?.['idempotencyKey'];
  if (bodyKey === undefined && headerKey === undefined && !dryRun)
    fields.push({ pointer: '/idempotencyKey', message: 'is required, here or as the header Idempotency-Key' });
  if (headerKey !== undefined && !Value.Check(IdempotencyKey, headerKey))
    fields.push({ pointer: '/headers/idempotency-key', message: 'must match ^[A-Za-z0-9._-]{1,128}$' });
  else if (bodyKey !== undefined && headerKey !== undefined && bodyKey !== headerKey)
    fields.push({ pointer: '/idempotencyKey', message: 'differs from the header Idempotency-Key' });

  if (fields.length > 0)
    return { ok: false, code: 'ValidationFailed', reason: 'the job does not match its schema', fields };
  const submission = { ...filled, spec, ...(headerKey === undefined ? {} : { idempotencyKey: headerKey }) };
  return { ok: true, submission: submission as unknown as Submission };
}

/** Defaults of the spec, and of the groups that are optional as a whole but needed by what the spec asks for. */
function fillSpec(kind: JobKind<unknown, object>, given: unknown): unknown {
  const spec = Value.Default(kind.spec, Value.Clone(given));
  if (spec !== null && typeof spec === 'object' && !Array.isArray(spec)) kind.fill(spec as Record<string, unknown>);
  return spec;
}
