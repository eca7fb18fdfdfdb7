import type { TSchema } from '#typebox';
import { Value } from '#typebox/value';
import type { FieldError } from '#lib/kernel/errors.ts';

/** The parts of JSON Schema that our schemas use. */
interface Shape {
  readonly type?: string;
  readonly const?: unknown;
  /** A member that has one is filled in, unless it lies in a union whose branch was not clear. */
  readonly default?: unknown;
  readonly anyOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: unknown;
  readonly patternProperties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
  readonly pattern?: string;
  readonly enum?: readonly unknown[];
  /** Of what the pattern means, for people. */
  readonly title?: string;
}

/** More than anybody corrects in one go, and a bound on the answer to a hostile body. */
const MAX_ERRORS = 50;

/**
 * Why `value` does not match `schema`, by JSON pointer below `pointer`; empty when it matches.
 *
 * A missing or unknown member is reported at the member itself. Of a union the branch that the value was meant to be is explained: the one its
 * discriminator names (`suite: 'cloze'`), else the one whose members it has; never the errors of all branches.
 */
export function explain(schema: TSchema, value: unknown, pointer = ''): FieldError[] {
  const errors: FieldError[] = [];
  walk(schema, value, pointer, errors);
  return errors.slice(0, MAX_ERRORS);
}

function walk(schema: Shape, value: unknown, pointer: string, errors: FieldError[]): void {
  if (errors.length >= MAX_ERRORS) return;
  if (schema.anyOf !== undefined) return walkUnion(schema.anyOf, value, pointer, errors);
  if (schema.type === 'object') return walkObject(schema, value, pointer, errors);
  if (schema.type === 'array') return walkArray(schema, value, pointer, errors);
  walkLeaf(schema, value, pointer, errors);
}

function walkObject(schema: Shape, value: unknown, pointer: string, errors: FieldError[]): void {
  if (!isObject(value)) return report(errors, pointer, 'must be an object');
  for (const name of schema.required ?? [])
    if (value[name] === undefined && schema.properties?.[name]?.default === undefined)
      report(errors, below(pointer, name), 'is required');
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue;
    const known = memberSchema(schema, name);
    if (known !== null) walk(known, member, below(pointer, name), errors);
    else if (schema.additionalProperties === false)
      report(
        errors,
        below(pointer, name),
        schema.patternProperties === undefined ? 'is not a known field' : 'is not an allowed name',
      );
  }
  const { properties: _p, required: _r, patternProperties: _pp, additionalProperties: _a, ...rest } = schema;
  walkLeaf(rest, value, pointer, errors);
}

function memberSchema(schema: Shape, name: string): Shape | null {
  const { properties = {}, patternProperties = {} } = schema;
  if (Object.hasOwn(properties, name)) return properties[name] ?? null;
  const pattern = Object.keys(patternProperties).find((candidate) => new RegExp(candidate, 'u').test(name));
  return pattern === undefined ? null : (patternProperties[pattern] ?? null);
}

function walkArray(schema: Shape, value: unknown, pointer: string, errors: FieldError[]): void {
  if (!Array.isArray(value)) return report(errors, pointer, 'must be an array');
  const { items, ...rest } = schema;
  if (items !== undefined) value.forEach((item, index) => walk(items, item, below(pointer, String(index)), errors));
  walkLeaf(rest, value, pointer, errors);
}

function walkLeaf(schema: Shape, value: unknown, pointer: string, errors: FieldError[]): void {
  for (const error of Value.Errors(schema as TSchema, value)) {
    if (schema.const !== undefined) report(errors, pointer, `must be ${JSON.stringify(schema.const)}`);
    else if (error.keyword === 'pattern')
      report(errors, pointer, `must ${schema.title === undefined ? `match ${schema.pattern}` : `be ${schema.title}`}`);
    else if (error.keyword === 'enum')
      report(errors, pointer, `must be one of ${(schema.enum ?? []).map((each) => JSON.stringify(each)).join(', ')}`);
    else
      report(
        errors,
        pointer,
        error.message
          .replace(/^must be (?=integer)/, 'must be an ')
          .replace(/^must be (?=string|number|boolean)/, 'must be a '),
      );
  }
}

function walkUnion(branches: readonly Shape[], value: unknown, pointer: string, errors: FieldError[]): void {
  if (branches.some((branch) => Value.Check(branch as TSchema, value))) return;
  if (branches.every((branch) => branch.const !== undefined))
    return report(
      errors,
      pointer,
      `must be one of ${branches.map((branch) => JSON.stringify(branch.const)).join(', ')}`,
    );
  const objects = branches.filter((branch) => branch.type === 'object');
  if (objects.length === branches.length) return walkObjectUnion(objects, value, pointer, errors);
  const sameType = branches.filter((branch) => branch.const === undefined && typeFits(branch, value));
  const [only] = sameType;
  if (only !== undefined && sameType.length === 1) return walk(only, value, pointer, errors);
  report(errors, pointer, `must be ${branches.map(wordsOf).join(' or ')}`);
}

function walkObjectUnion(branches: readonly Shape[], value: unknown, pointer: string, errors: FieldError[]): void {
  if (!isObject(value)) return report(errors, pointer, 'must be an object');
  // 1. A discriminator: a member that is a constant in every branch.
  const tag = Object.keys(branches[0]?.properties ?? {}).find((name) =>
    branches.every((branch) => branch.properties?.[name]?.const !== undefined),
  );
  if (tag !== undefined) {
    const meant = branches.find((branch) => branch.properties?.[tag]?.const === value[tag]);
    if (meant !== undefined) return walk(meant, value, pointer, errors);
    const allowed = branches.map((branch) => JSON.stringify(branch.properties?.[tag]?.const)).join(', ');
    return report(
      errors,
      below(pointer, tag),
      `${value[tag] === undefined ? 'is required and ' : ''}must be one of ${allowed}`,
    );
  }
  // 2. The branch whose own members the value has.
  const scores = branches.map((branch) => Object.keys(branch.properties ?? {}).filter((name) => name in value).length);
  const best = Math.max(...scores);
  const candidates = branches.filter((_, index) => scores[index] === best);
  const [only] = candidates;
  if (best > 0 && only !== undefined && candidates.length === 1) return walk(only, value, pointer, errors);
  const kinds = branches.map((branch) => `{${(branch.required ?? []).join(', ')}}`).join(' or ');
  report(errors, pointer, `must be exactly one of ${kinds}`);
}

function typeFits(schema: Shape, value: unknown): boolean {
  if (schema.type === 'integer' || schema.type === 'number') return typeof value === 'number';
  if (schema.type === 'array') return Array.isArray(value);
  if (schema.type === 'object') return isObject(value);
  return schema.type === typeof value;
}

function wordsOf(schema: Shape): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  return schema.type === 'null' ? 'null' : `${/^[aio]/.test(schema.type ?? '') ? 'an' : 'a'} ${schema.type ?? 'value'}`;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

const report = (errors: FieldError[], pointer: string, message: string): void => {
  errors.push({ pointer, message });
};

/** RFC 6901, section 3. */
const below = (pointer: string, name: string): string =>
  `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
