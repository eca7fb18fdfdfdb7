import avro from 'avsc';

export type Compatibility = 'FULL_TRANSITIVE' | 'BACKWARD_TRANSITIVE';

/**
 * What is wrong with replacing `released` by `current` (both Avro schemas as JSON text). BACKWARD: the new reader understands what was
 * written before. FULL: the old reader understands what is written from now on, too. Empty = compatible.
 */
export function incompatibilities(released: string, current: string, rule: Compatibility): string[] {
  const [before, now] = [typeOf(released), typeOf(current)];
  const problems = resolution(now, before, 'the new reader cannot read old messages');
  if (rule === 'FULL_TRANSITIVE') problems.push(...resolution(before, now, 'old readers cannot read new messages'));
  return problems;
}

const typeOf = (text: string): avro.Type => avro.Type.forSchema(JSON.parse(text) as avro.Schema);

function resolution(reader: avro.Type, writer: avro.Type, what: string): string[] {
  try {
    reader.createResolver(writer);
    return [];
  } catch (error) {
    return [`${what}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/** Places of a schema with a union other than `["null", X]`. */
export function wrongUnions(schema: unknown, path = ''): string[] {
  if (Array.isArray(schema)) {
    const fine = schema.length === 2 && schema[0] === 'null' && !Array.isArray(schema[1]) && schema[1] !== 'null';
    return [...(fine ? [] : [path]), ...schema.flatMap((member, at) => wrongUnions(member, `${path}/${at}`))];
  }
  if (typeof schema !== 'object' || schema === null) return [];
  const { type, items, values, fields } = schema as Record<string, unknown>;
  return [
    ...wrongUnions(type, `${path}/type`),
    ...wrongUnions(items, `${path}/items`),
    ...wrongUnions(values, `${path}/values`),
    ...(Array.isArray(fields)
      ? fields.flatMap((field: { name: string }) => wrongUnions(field, `${path}/${field.name}`))
      : []),
  ];
}
