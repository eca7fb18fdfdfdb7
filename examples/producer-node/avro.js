// Avro's binary encoding, as much of it as Trainyard's messages use, driven by the schema that the registry gives
// (https://avro.apache.org/docs/1.12.0/specification/#binary-encoding). A package such as `avsc` does the same, and faster.

/** Encodes a value; members of records that are not there get the default of the schema. Throws for a member without one. */
export function encode(schema, value) {
  if (Array.isArray(schema)) {
    // Unions are ["null", X]: the number of the branch, then the value.
    return value === null ? long(0) : Buffer.concat([long(1), encode(schema[1], value)]);
  }
  const { type = schema, fields, items, values, name } = schema;
  switch (type) {
    case 'string':
      return encode('bytes', Buffer.from(value, 'utf8'));
    case 'bytes':
      return Buffer.concat([long(value.length), value]);
    case 'int':
    case 'long':
      return long(value);
    case 'boolean':
      return Buffer.of(value ? 1 : 0);
    case 'array':
      return blocks(value.map((item) => encode(items, item)));
    case 'map':
      return blocks(
        Object.entries(value).map(([key, each]) => Buffer.concat([encode('string', key), encode(values, each)])),
      );
    case 'record':
      return Buffer.concat(
        fields.map((field) => {
          const member = value[field.name] === undefined ? field.default : value[field.name];
          if (member === undefined) throw new Error(`${name} needs ${field.name}`);
          return encode(field.type, member);
        }),
      );
    default:
      throw new Error(`not used by Trainyard: ${JSON.stringify(type)}`);
  }
}

/** Decodes what was encoded with the same schema. */
export function decode(schema, bytes) {
  let at = 0;
  const readLong = () => {
    let [result, scale, byte] = [0, 1, 0];
    do {
      byte = bytes[at++];
      result += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte & 0x80);
    return result % 2 === 0 ? result / 2 : -(result + 1) / 2;
  };
  const readBytes = () => {
    const length = readLong();
    at += length;
    return bytes.subarray(at - length, at);
  };
  const read = (part) => {
    if (Array.isArray(part)) return read(part[readLong()]);
    const { type = part, fields, items, values } = part;
    switch (type) {
      case 'null':
        return null;
      case 'string':
        return readBytes().toString('utf8');
      case 'bytes':
        return readBytes();
      case 'int':
      case 'long':
        return readLong();
      case 'boolean':
        return bytes[at++] === 1;
      case 'array':
        return readBlocks(() => read(items));
      case 'map':
        return Object.fromEntries(readBlocks(() => [read('string'), read(values)]));
      case 'record':
        return Object.fromEntries(fields.map((field) => [field.name, read(field.type)]));
      default:
        throw new Error(`not used by Trainyard: ${JSON.stringify(type)}`);
    }
  };
  const readBlocks = (readItem) => {
    const found = [];
    for (let count = readLong(); count !== 0; count = readLong()) {
      // A negative count is followed by the bytes of the block.
      if (count < 0) readLong();
      for (let n = Math.abs(count); n > 0; n--) found.push(readItem());
    }
    return found;
  };
  return read(schema);
}

/** Zigzag, then seven bits a byte, the lowest first. */
function long(value) {
  let rest = value < 0 ? -value * 2 - 1 : value * 2;
  const out = [];
  for (; rest > 127; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  return Buffer.from([...out, rest]);
}

/** One block of all items, and the empty one that ends the list. */
const blocks = (parts) => Buffer.concat([...(parts.length === 0 ? [] : [long(parts.length), ...parts]), long(0)]);
