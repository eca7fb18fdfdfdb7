import { type FileHandle, open } from 'node:fs/promises';
import { invariant, messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { writeDurably } from './durable-file.ts';

/** A 32-bit float tensor with its name; `data` is row-major. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Absolute position in the file, in bytes. */
  readonly begin: number;
  readonly end: number;
}

/** The reference implementation refuses larger headers too (https://github.com/huggingface/safetensors). */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;
const HEADER_ALIGNMENT = 8;
const FLOAT_BYTES = 4;
const MAX_DIMENSIONS = 8;

const DTYPE_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
};

/**
 * An opened safetensors file whose header was checked: every tensor lies inside the file, none overlaps another, sizes
 * match shapes, and no byte is left over. Files come from outside; anything else is `TrainerModelInvalid`.
 */
export class SafetensorsFile {
  readonly entries: ReadonlyMap<string, TensorEntry>;
  private readonly file: FileHandle;
  private readonly path: string;

  constructor(path: string, file: FileHandle, entries: ReadonlyMap<string, TensorEntry>) {
    this.path = path;
    this.file = file;
    this.entries = entries;
  }

  /** Reads one F32 tensor straight into `into`, whose length the caller took from the model's configuration. */
  async readInto(name: string, shape: readonly number[], into: Float32Array): Promise<void> {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new TrainyardError('TrainerShapeMismatch', `${this.path}: no tensor ${name}`);
    if (entry.shape.join() !== shape.join()) {
      const message = `${this.path}: ${name} has shape [${entry.shape.join()}], expected [${shape.join()}]`;
      throw new TrainyardError('TrainerShapeMismatch', message);
    }
    if (entry.dtype !== 'F32') refuse(this.path, `${name} has element type ${entry.dtype}; only F32 is supported`);
    invariant(into.byteLength === entry.end - entry.begin, `${name}: destination of another size`);
    await readFully(this.path, this.file, new Uint8Array(into.buffer, into.byteOffset, into.byteLength), entry.begin);
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** Opens and checks a file; the caller closes it. A missing file is the system's `ENOENT`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size < LENGTH_BYTES) refuse(path, 'shorter than a header length');
    const prefix = new Uint8Array(LENGTH_BYTES);
    await readFully(path, file, prefix, 0);
    const headerBytes = new DataView(prefix.buffer).getBigUint64(0, true);
    if (headerBytes > BigInt(Math.min(MAX_HEADER_BYTES, size - LENGTH_BYTES)))
      refuse(path, 'header longer than the file');
    const header = new Uint8Array(Number(headerBytes));
    await readFully(path, file, header, LENGTH_BYTES);
    const dataStart = LENGTH_BYTES + header.length;
    return new SafetensorsFile(path, file, parseHeader(path, header, dataStart, size - dataStart));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Writes tensors sorted by name with `format: pt` (older transformers ask for it). Returns the file's SHA-256. */
export async function writeSafetensors(path: string, tensors: readonly NamedTensor[]): Promise<string> {
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape, data } of sorted) {
    const end = offset + data.length * FLOAT_BYTES;
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(json.length / HEADER_ALIGNMENT) * HEADER_ALIGNMENT).fill(0x20);
  padded.set(json);
  const length = new Uint8Array(LENGTH_BYTES);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  const bodies = sorted.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return writeDurably(path, [length, padded, ...bodies]);
}

function parseHeader(path: string, bytes: Uint8Array, dataStart: number, dataBytes: number): Map<string, TensorEntry> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    refuse(path, `the header is not JSON: ${messageOf(error)}`);
  }
  if (!isRecord(header)) refuse(path, 'the header is not an object');
  const entries = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    entries.set(name, parseEntry(path, name, value, dataStart, dataBytes));
  }
  // Tensors must tile the data: neither overlaps (aliased weights) nor holes (hidden bytes).
  let end = dataStart;
  for (const [name, entry] of [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== end) refuse(path, `${name} overlaps another tensor or leaves a hole`);
    end = entry.end;
  }
  if (end !== dataStart + dataBytes) refuse(path, 'bytes after the last tensor');
  return entries;
}

function parseEntry(path: string, name: string, value: unknown, dataStart: number, dataBytes: number): TensorEntry {
  if (!isRecord(value)) refuse(path, `${name} is not an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  const elementBytes = typeof dtype === 'string' && Object.hasOwn(DTYPE_BYTES, dtype) ? DTYPE_BYTES[dtype] : undefined;
  if (typeof dtype !== 'string' || elementBytes === undefined) refuse(path, `${name} has an unknown element type`);
  if (!isSizes(shape) || shape.length > MAX_DIMENSIONS) refuse(path, `${name} has no usable shape`);
  if (!isSizes(offsets)) refuse(path, `${name} has no usable offsets`);
  const [begin, end, ...more] = offsets;
  if (begin === undefined || end === undefined || more.length > 0 || begin > end || end > dataBytes) {
    refuse(path, `${name} lies outside the file`);
  }
  const bytes = shape.reduce((product, size) => product * size, elementBytes);
  if (!Number.isSafeInteger(bytes) || bytes !== end - begin) refuse(path, `${name}: size and shape differ`);
  return { dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

/** One read call may stop early (2 GiB on Linux); the end of the file before `into` is full means a truncated file. */
async function readFully(path: string, file: FileHandle, into: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) refuse(path, 'the file ends too early');
    done += bytesRead;
  }
}

function refuse(path: string, reason: string): never {
  throw new TrainyardError('TrainerModelInvalid', `${path}: ${reason}`);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
