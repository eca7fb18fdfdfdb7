import { totalmem } from 'node:os';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { sizeOf } from './graph/onnx-model.ts';
import { type Gpt2Config, gpt2Tensors } from './model/gpt2.ts';

const MIB = 1024 * 1024;
const FLOAT_BYTES = 4;

/**
 * Refuses work that cannot fit before any of it is allocated: a lower bound from the flat arrays (`copies` of the
 * parameters: weights, gradients, two moments) and the largest activations (logits, attention scores).
 */
export function checkEstimate(
  config: Gpt2Config,
  size: { batch: number; length: number; copies: number },
  maxMemoryMib: number,
): void {
  const parameters = parameterCount(config);
  const logits = 2 * size.batch * size.length * config.vocabularySize;
  const scores = config.layers * size.batch * config.heads * size.length ** 2;
  const neededMib = ((size.copies * parameters + logits + scores) * FLOAT_BYTES) / MIB;
  const availableMib = maxMemoryMib > 0 ? maxMemoryMib : totalmem() / MIB;
  if (neededMib <= availableMib) return;
  const message = `at least ${Math.ceil(neededMib)} MiB needed, ${Math.floor(availableMib)} MiB allowed`;
  throw new TrainyardError('TrainerOutOfMemory', message, { details: { parameters, neededMib, availableMib } });
}

/** Throws `TrainerOutOfMemory` when the process holds more than the limit; 0 = no limit. */
export function checkResidentMemory(maxMemoryMib: number): void {
  if (maxMemoryMib === 0) return;
  const residentMib = process.memoryUsage.rss() / MIB;
  if (residentMib <= maxMemoryMib) return;
  const message = `${Math.ceil(residentMib)} MiB resident, ${maxMemoryMib} MiB allowed`;
  throw new TrainyardError('TrainerOutOfMemory', message, { details: { residentMib, maxMemoryMib } });
}

export const parameterCount = (config: Gpt2Config): number =>
  gpt2Tensors(config).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
