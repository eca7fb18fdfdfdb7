import { invariant } from '#lib/kernel/errors.ts';
import type { TensorData } from '../engine.ts';
import { sizeOf, type Value } from '../graph/onnx-model.ts';
import type { Tape } from '../graph/tape.ts';

/** A matrix in 4 bits: two codes a byte (the first in the high half), one scale (the largest magnitude) a block. */
export interface Nf4Matrix {
  readonly shape: readonly number[];
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
}

/** The 16 quantiles of a normal distribution that QLoRA uses (Dettmers et al. 2023, appendix E). */
export const NF4_LEVELS: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** Elements that share one scale, row-major, as bitsandbytes does. */
export const NF4_BLOCK = 64;

/** Half the widest gap between levels: no element moves by more than this times its block's scale. */
export const NF4_WORST_ERROR = (1 - 0.6961928009986877) / 2;

/** Quantises row-major `data`; the last block is padded with zeros when the size is no multiple of 64. */
export function quantiseNf4(data: Float32Array, shape: readonly number[]): Nf4Matrix {
  invariant(data.length === sizeOf(shape), 'data and shape differ');
  const blocks = Math.ceil(data.length / NF4_BLOCK);
  const codes = new Uint8Array((blocks * NF4_BLOCK) / 2);
  const scales = new Float32Array(blocks);
  for (let block = 0; block < blocks; block += 1) {
    const begin = block * NF4_BLOCK;
    let largest = 0;
    for (const value of data.subarray(begin, begin + NF4_BLOCK)) largest = Math.max(largest, Math.abs(value));
    scales[block] = largest;
    for (let offset = 0; offset < NF4_BLOCK; offset += 2) {
      const high = nearestLevel(data[begin + offset] ?? 0, largest);
      const low = nearestLevel(data[begin + offset + 1] ?? 0, largest);
      codes[(begin + offset) / 2] = high * 16 + low;
    }
  }
  return { shape, codes, scales };
}

export function dequantiseNf4(matrix: Nf4Matrix): Float32Array {
  const level = (code: number): number => NF4_LEVELS[code] ?? 0;
  return Float32Array.from({ length: sizeOf(matrix.shape) }, (_, index) => {
    const byte = matrix.codes[index >> 1] ?? 0;
    const scale = matrix.scales[Math.floor(index / NF4_BLOCK)] ?? 0;
    return Math.fround(level(index % 2 === 0 ? byte >> 4 : byte & 15)) * scale;
  });
}

/**
 * The matrix as a value of the graph. Codes and scales are graph *inputs*: as constants onnxruntime would dequantise them
 * once at session start and hold 32 bits a weight for the whole run.
 */
export function nf4Value(tape: Tape, name: string, matrix: Nf4Matrix): Value {
  const { graph } = tape;
  const padded = matrix.scales.length * NF4_BLOCK;
  const codes = graph.input(codesName(name), 'uint8', [matrix.codes.length]);
  const scales = graph.input(scalesName(name), 'float32', [matrix.scales.length, 1]);
  const bytes = graph.node('Cast', [codes], codes.shape, { type: 'int32', attributes: { to: 6 } });
  const pairs = graph.node('Gather', [pairTable(tape), bytes], [matrix.codes.length, 2], { attributes: { axis: 0 } });
  const blocks = [matrix.scales.length, NF4_BLOCK];
  const levels = graph.node('Reshape', [pairs, graph.integers(blocks)], blocks);
  const scaled = graph.node('Mul', [levels, scales], blocks);
  const size = sizeOf(matrix.shape);
  if (padded === size) return graph.node('Reshape', [scaled, graph.integers(matrix.shape)], matrix.shape);
  const flat = graph.node('Reshape', [scaled, graph.integers([padded])], [padded]);
  const bounds = [graph.integers([0]), graph.integers([size])];
  const sliced = graph.node('Slice', [flat, ...bounds], [size]);
  return graph.node('Reshape', [sliced, graph.integers(matrix.shape)], matrix.shape);
}

/** What to bind for `nf4Value`. */
export const nf4Inputs = (name: string, matrix: Nf4Matrix): Record<string, TensorData> => ({
  [codesName(name)]: matrix.codes,
  [scalesName(name)]: matrix.scales,
});

const codesName = (name: string): string => `${name}.nf4`;
const scalesName = (name: string): string => `${name}.nf4_scales`;

/** Byte -> its two levels, so that one lookup decodes two weights. */
function pairTable(tape: Tape): Value {
  const pairs = Array.from({ length: 256 }, (_, byte) => [NF4_LEVELS[byte >> 4] ?? 0, NF4_LEVELS[byte & 15] ?? 0]);
  return tape.graph.floats(pairs.flat(), [256, 2]);
}

function nearestLevel(value: number, scale: number): number {
  const wanted = scale === 0 ? 0 : value / scale;
  let best = 0;
  for (let code = 1; code < NF4_LEVELS.length; code += 1) {
    if (Math.abs((NF4_LEVELS[code] ?? 0) - wanted) < Math.abs((NF4_LEVELS[best] ?? 0) - wanted)) best = code;
  }
  return best;
}
