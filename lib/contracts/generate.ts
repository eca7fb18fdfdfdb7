/** The part of an Avro schema that our messages use. Only `["null", X]` unions (docs/decisions/0006). */
type AvroSchema =
  | string
  | readonly AvroSchema[]
  | {
      readonly type: string;
      readonly name?: string;
      readonly doc?: string;
      readonly items?: AvroSchema;
      readonly values?: AvroSchema;
      readonly symbols?: readonly string[];
      readonly fields?: readonly { readonly name: string; readonly type: AvroSchema; readonly doc?: string }[];
    };

const PRIMITIVES: Readonly<Record<string, string>> = {
  string: 'string',
  int: 'number',
  long: 'number',
  float: 'number',
  double: 'number',
  boolean: 'boolean',
  bytes: 'Buffer',
  null: 'null',
};

/**
 * TypeScript for Avro records: an interface per record, a union per enum, `MESSAGE_SCHEMAS` and `MessageTypes`.
 * `releasedTexts` are the schemas of former releases: those that differ from today's are kept, so that messages they wrote can be read.
 * Input: texts of `.avsc` files in name order. The output is formatted as the formatter would leave it alone (generated files are exempt).
 */
export function generateMessages(schemaTexts: readonly string[], releasedTexts: readonly string[]): string {
  const declarations = new Map<string, string>();
  const messages: { name: string; schema: string }[] = [];
  for (const text of schemaTexts) {
    const schema = JSON.parse(text) as Exclude<AvroSchema, string | readonly AvroSchema[]>;
    typeOf(schema, declarations);
    messages.push({ name: schema.name ?? '', schema: JSON.stringify(schema) });
  }
  return [
    '// Generated from schemas/avro by `npm run generate`. Do not edit.',
    ...declarations.values(),
    '/** Payload type by message type. */',
    'export interface MessageTypes {',
    ...messages.map((m) => `  ${m.name}: ${m.name};`),
    '}',
    '',
    '/** Avro schema by message type, as JSON text. */',
    'export const MESSAGE_SCHEMAS: Readonly<Record<keyof MessageTypes, string>> = {',
    ...messages.map((m) => `  ${m.name}: ${JSON.stringify(m.schema)},`),
    '};',
    '',
    '/** Avro schemas of former releases that differ from the ones above, as JSON texts: writers of messages that may still come. */',
    'export const FORMER_SCHEMAS: readonly string[] = [',
    ...formerSchemas(
      messages.map((m) => m.schema),
      releasedTexts,
    ).map((schema) => `  ${JSON.stringify(schema)},`),
    '];',
    '',
  ].join('\n');
}

function formerSchemas(current: readonly string[], releasedTexts: readonly string[]): string[] {
  const released = releasedTexts.map((text) => JSON.stringify(JSON.parse(text)));
  return [...new Set(released)].filter((schema) => !current.includes(schema));
}

function typeOf(schema: AvroSchema, declarations: Map<string, string>): string {
  if (typeof schema === 'string') return PRIMITIVES[schema] ?? schema.split('.').at(-1) ?? schema;
  if (isUnion(schema)) {
    const [first, second, ...rest] = schema;
    if (first !== 'null' || second === undefined || rest.length > 0)
      throw new Error('only ["null", X] unions are allowed');
    return `${typeOf(second, declarations)} | null`;
  }
  switch (schema.type) {
    case 'record':
      return declareRecord(schema, declarations);
    case 'enum':
      declarations.set(
        schema.name ?? '',
        `${comment(schema.doc, '')}export type ${schema.name} = ${(schema.symbols ?? []).map((s) => `'${s}'`).join(' | ')};\n`,
      );
      return schema.name ?? '';
    case 'array':
      return `${wrap(typeOf(schema.items ?? 'null', declarations))}[]`;
    case 'map':
      return `Record<string, ${typeOf(schema.values ?? 'null', declarations)}>`;
    default:
      return typeOf(schema.type, declarations);
  }
}

const isUnion = (schema: AvroSchema): schema is readonly AvroSchema[] => Array.isArray(schema);
const wrap = (type: string): string => (type.includes(' ') ? `(${type})` : type);
const comment = (doc: string | undefined, indent: string): string =>
  doc === undefined ? '' : `${indent}/** ${doc} */\n`;

function declareRecord(
  schema: Exclude<AvroSchema, string | readonly AvroSchema[]>,
  declarations: Map<string, string>,
): string {
  const name = schema.name ?? '';
  const fields = (schema.fields ?? []).map(
    (field) => `${comment(field.doc, '  ')}  ${field.name}: ${typeOf(field.type, declarations)};\n`,
  );
  declarations.set(name, `${comment(schema.doc, '')}export interface ${name} {\n${fields.join('')}}\n`);
  return name;
}
