import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../test-support/program.ts';
import { openSafetensors, writeSafetensors } from './safetensors.ts';

const TENSORS = [
  { name: 'b', shape: [2, 3], data: Float32Array.from([1, -2, 3.5, 4, 5, 6]) },
  { name: 'a', shape: [2], data: Float32Array.from([0.1, 7]) },
  { name: 'empty', shape: [0, 4], data: new Float32Array() },
];

test('what was written is read back, sorted by name, aligned and with its digest', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'x.safetensors');
  const digest = await writeSafetensors(path, TENSORS);
  const bytes = await readFile(path);
  expect(digest).toBe(createHash('sha256').update(bytes).digest('hex'));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  expect(headerLength % 8).toBe(0);
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
  expect(header.__metadata__).toEqual({ format: 'pt' });
  expect(header.a.data_offsets).toEqual([0, 8]);

  const file = await openSafetensors(path);
  expect([...file.entries.keys()]).toEqual(['a', 'b', 'empty']);
  for (const { name, shape, data } of TENSORS) {
    const into = new Float32Array(data.length);
    await file.readInto(name, shape, into);
    expect(into).toEqual(data);
  }
  await expect(file.readInto('b', [3, 2], new Float32Array(6))).rejects.toMatchObject({ code: 'TrainerShapeMismatch' });
  await expect(file.readInto('c', [1], new Float32Array(1))).rejects.toMatchObject({ code: 'TrainerShapeMismatch' });
  await file.close();
});

const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]): unknown => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

describe('a malformed file is refused', () => {
  const cases: Record<string, { header: unknown; data?: number; length?: bigint }> = {
    'data outside the file': { header: { a: f32(0, 16) }, data: 8 },
    'overlapping tensors': { header: { a: f32(0, 8), b: f32(4, 12) }, data: 12 },
    'the same bytes twice': { header: { a: f32(0, 8), b: f32(0, 8) }, data: 8 },
    'a hole between tensors': { header: { a: f32(0, 4), b: f32(8, 12) }, data: 12 },
    'bytes after the last tensor': { header: { a: f32(0, 4) }, data: 12 },
    'shape and size differ': { header: { a: f32(0, 8, [3]) }, data: 8 },
    'a shape beyond exact integers': { header: { a: f32(0, 8, [2 ** 52, 2 ** 52]) }, data: 8 },
    'a negative size': { header: { a: f32(0, 8, [-2]) }, data: 8 },
    'a fractional size': { header: { a: f32(0, 8, [1.5]) }, data: 8 },
    'offsets the wrong way round': { header: { a: f32(8, 0, [0]) }, data: 8 },
    'three offsets': { header: { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4, 8] } }, data: 4 },
    'an unknown element type': { header: { a: { dtype: 'constructor', shape: [1], data_offsets: [0, 4] } }, data: 4 },
    'too many dimensions': { header: { a: f32(0, 4, [1, 1, 1, 1, 1, 1, 1, 1, 1]) }, data: 4 },
    'a tensor that is not an object': { header: { a: 1 } },
    'a header that is not an object': { header: [1] },
    'a header that is not JSON': { header: undefined },
    'a header longer than the file': { header: {}, length: 1000n },
    'a header of 2^63 bytes': { header: {}, length: 2n ** 63n },
  };
  test.each(Object.keys(cases))('%s', async (name) => {
    await using folder = await temporaryFolder();
    const { header, data = 0, length } = cases[name] ?? { header: {} };
    const json = Buffer.from(header === undefined ? '{"a":' : JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(length ?? BigInt(json.length));
    const path = join(folder.path, 'x.safetensors');
    await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(data)]));
    await expect(openSafetensors(path)).rejects.toMatchObject({ code: 'TrainerModelInvalid' });
  });

  test('a file shorter than its header length', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'x.safetensors');
    await writeFile(path, 'abc');
    await expect(openSafetensors(path)).rejects.toMatchObject({ code: 'TrainerModelInvalid' });
  });
});

test('half-precision tensors may be in the file but are not silently misread', async () => {
  await using folder = await temporaryFolder();
  const json = Buffer.from(JSON.stringify({ a: { dtype: 'F16', shape: [2], data_offsets: [0, 4] } }));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(json.length));
  const path = join(folder.path, 'x.safetensors');
  await writeFile(path, Buffer.concat([prefix, json, Buffer.alloc(4)]));
  const file = await openSafetensors(path);
  await expect(file.readInto('a', [2], new Float32Array(2))).rejects.toMatchObject({ code: 'TrainerModelInvalid' });
  await file.close();
});
