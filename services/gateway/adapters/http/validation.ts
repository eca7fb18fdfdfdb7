import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from '#typebox';
import { Compile } from '#typebox/compile';
import { Value } from '#typebox/value';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { explain } from '../../domain/field-errors.ts';

/** First segment of the pointers of a part of the request; a pointer into the body has none. */
const PREFIX: Readonly<Record<string, string>> = {
  body: '',
  querystring: '/query',
  params: '/path',
  headers: '/headers',
};

interface Member {
  readonly type?: string;
  readonly items?: Member;
}

/** The one validator of the gateway: TypeBox, unknown members refused where the schema says so, defaults filled in, nothing coerced but queries. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const validator = Compile(schema);
  const prefix = PREFIX[httpPart ?? 'body'] ?? '';
  return (data: unknown) => {
    // Fastify passes null for a body that was not sent; a schema with a default allows that.
    const given = data === null && 'default' in schema ? undefined : data;
    const value = Value.Default(schema, httpPart === 'querystring' ? fromQuery(schema, given) : given);
    if (validator.Check(value)) return { value };
    const fields = explain(schema, value, prefix);
    return { error: new TrainyardError('ValidationFailed', 'the request does not match its schema', { fields }) };
  };
};

/** For a body that its handler reads itself (a stream) or checks against more than one schema. */
export const passThrough: FastifySchemaCompiler<TSchema> = (route) =>
  route.httpPart === 'body' ? (data: unknown) => ({ value: data }) : validatorCompiler(route);

/** Texts of a query as the types that the schema names; what does not convert is left for the check to refuse. */
function fromQuery(schema: TSchema, query: unknown): unknown {
  const { properties = {} } = schema as { properties?: Record<string, Member> };
  const values: Record<string, unknown> = {};
  for (const [name, text] of Object.entries((query ?? {}) as Record<string, unknown>)) {
    const member = Object.hasOwn(properties, name) ? properties[name] : undefined;
    values[name] =
      member?.type === 'array'
        ? (Array.isArray(text) ? text : [text]).map((item) => convert(member.items?.type, item))
        : convert(member?.type, text);
  }
  return values;
}

function convert(type: string | undefined, text: unknown): unknown {
  if (typeof text !== 'string') return text;
  if (type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}
