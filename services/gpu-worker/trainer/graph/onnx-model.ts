import { invariant } from '#lib/kernel/errors.ts';
import { type Bytes, bytesField, floatField, integerField, join, messageField, stringField } from './protobuf.ts';

/** Element types used here; the numbers are ONNX `TensorProto.DataType`. */
const ELEMENT = { float32: 1, uint8: 2, int32: 6, int64: 7 } as const;
export type ElementType = keyof typeof ELEMENT;

/** A tensor of the graph: its name, its element type and its static shape. */
export interface Value {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

type Attribute = number | string | readonly number[] | { readonly float: number };

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, Attribute>>;
  readonly domain?: string;
  readonly type?: ElementType;
}

/** Opset 20 and IR 9: what onnxruntime 1.30 runs; `com.microsoft` holds FusedMatMul. */
const OPSET = 20;
const IR_VERSION = 9;
const MICROSOFT_DOMAIN = 'com.microsoft';
const MICROSOFT_OPSET = 1;

/** Generated names start with this, so that they never collide with the names of inputs and outputs. */
const GENERATED = '_';

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** Collects nodes, inputs, constants and outputs of one static-shape graph and encodes it as an ONNX model. */
export class GraphBuilder {
  private readonly nodes: Bytes[] = [];
  private readonly inputs = new Map<string, Value>();
  private readonly constants = new Map<string, Value>();
  private readonly initializers: Bytes[] = [];
  private readonly outputs: Value[] = [];
  private counter = 0;

  /** A tensor fed on every run; asking twice for one name gives the same value. */
  input(name: string, type: ElementType, shape: readonly number[]): Value {
    invariant(!name.startsWith(GENERATED), `input ${name} would collide with generated names`);
    const known = this.inputs.get(name);
    if (known !== undefined) return known;
    const value: Value = { name, type, shape };
    this.inputs.set(name, value);
    return value;
  }

  /** A float constant; equal constants are stored once. */
  floats(values: readonly number[], shape: readonly number[]): Value {
    return this.constant('float32', shape, new Uint8Array(Float32Array.from(values).buffer));
  }

  /** An int64 constant, as ONNX wants shapes and axes. */
  integers(values: readonly number[]): Value {
    return this.constant(
      'int64',
      [values.length],
      new Uint8Array(BigInt64Array.from(values, (item) => BigInt(item)).buffer),
    );
  }

  /** An int32 constant, for indices. */
  indices(values: readonly number[]): Value {
    return this.constant('int32', [values.length], new Uint8Array(Int32Array.from(values).buffer));
  }

  /** Adds a node with one output. */
  node(operator: string, inputs: readonly Value[], shape: readonly number[], options: NodeOptions = {}): Value {
    const [value] = this.nodeWithOutputs(operator, inputs, [shape], options);
    invariant(value !== undefined, `${operator} has no output`);
    return value;
  }

  /** Adds a node with several outputs of one element type (default: that of the first input). */
  nodeWithOutputs(
    operator: string,
    inputs: readonly Value[],
    shapes: readonly (readonly number[])[],
    options: NodeOptions = {},
  ): Value[] {
    const type = options.type ?? inputs[0]?.type ?? 'float32';
    const values = shapes.map((shape): Value => ({ name: this.freshName(), type, shape }));
    this.nodes.push(
      join([
        ...inputs.map((value) => stringField(1, value.name)),
        ...values.map((value) => stringField(2, value.name)),
        stringField(3, `${operator}${this.nodes.length}`),
        stringField(4, operator),
        ...Object.entries(options.attributes ?? {}).map(([name, value]) => messageField(5, attribute(name, value))),
        ...(options.domain === undefined ? [] : [stringField(7, options.domain)]),
      ]),
    );
    return values;
  }

  /** Publishes a value under a name of the caller's choice. */
  output(name: string, value: Value): void {
    invariant(!name.startsWith(GENERATED), `output ${name} would collide with generated names`);
    this.nodes.push(join([stringField(1, value.name), stringField(2, name), stringField(4, 'Identity')]));
    this.outputs.push({ ...value, name });
  }

  get outputValues(): readonly Value[] {
    return this.outputs;
  }

  get inputValues(): readonly Value[] {
    return [...this.inputs.values()];
  }

  encode(): Bytes {
    const graph = [
      ...this.nodes.map((node) => bytesField(1, node)),
      stringField(2, 'trainyard'),
      ...this.initializers.map((tensor) => bytesField(5, tensor)),
      ...[...this.inputs.values()].map((value) => messageField(11, valueInfo(value))),
      ...this.outputs.map((value) => messageField(12, valueInfo(value))),
    ];
    return join([
      integerField(1, IR_VERSION),
      stringField(2, 'trainyard'),
      messageField(7, graph),
      messageField(8, [stringField(1, ''), integerField(2, OPSET)]),
      messageField(8, [stringField(1, MICROSOFT_DOMAIN), integerField(2, MICROSOFT_OPSET)]),
    ]);
  }

  private constant(type: ElementType, shape: readonly number[], raw: Bytes): Value {
    const key = `${type}:${shape.join('x')}:${Buffer.from(raw).toString('base64')}`;
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const value: Value = { name: this.freshName(), type, shape };
    this.constants.set(key, value);
    this.initializers.push(
      join([
        ...shape.map((size) => integerField(1, size)),
        integerField(2, ELEMENT[type]),
        stringField(8, value.name),
        bytesField(9, raw),
      ]),
    );
    return value;
  }

  private freshName(): string {
    this.counter += 1;
    return `${GENERATED}${this.counter}`;
  }
}

/** AttributeProto: a number is an integer attribute unless wrapped as `{ float }`. */
function attribute(name: string, value: Attribute): Bytes[] {
  const named = stringField(1, name);
  if (typeof value === 'number') return [named, integerField(3, value), integerField(20, 2)];
  if (typeof value === 'string') return [named, stringField(4, value), integerField(20, 3)];
  if ('float' in value) return [named, floatField(2, value.float), integerField(20, 1)];
  return [named, ...value.map((item) => integerField(8, item)), integerField(20, 7)];
}

function valueInfo(value: Value): Bytes[] {
  const shape = value.shape.map((size) => messageField(1, [integerField(1, size)]));
  const tensor = [integerField(1, ELEMENT[value.type]), messageField(2, shape)];
  return [stringField(1, value.name), messageField(2, [messageField(1, tensor)])];
}
