import type { Value } from '../graph/onnx-model.ts';
import { linear } from '../graph/ops/linear.ts';
import type { Tape } from '../graph/tape.ts';
import type { Gpt2Weights } from './gpt2.ts';
import { selectTensors, type TensorSpec } from './tensor-set.ts';
import type { Model } from './weights.ts';

/** Heads that turn a hidden state into one number, by their tensor's name. */
export const HEAD = {
  /** As in transformers' GPT2ForSequenceClassification with one label. */
  reward: 'score.weight',
  /** As in TRL's models with a value head. */
  value: 'v_head.summary.weight',
} as const;
export type HeadName = (typeof HEAD)[keyof typeof HEAD];

/**
 * The model with a head of zeros among the tensors that training changes. Zeros: the first loss is that of no opinion, and the
 * trunk starts to move only when the head has learnt a direction.
 */
export function withHead(model: Model, name: HeadName): Model {
  const head: TensorSpec = { name, shape: [1, model.config.embeddingSize] };
  if (model.adapter === undefined) return { ...model, base: selectTensors(model.base, [...model.base.specs, head]) };
  const { tensors } = model.adapter;
  return { ...model, adapter: { ...model.adapter, tensors: selectTensors(tensors, [...tensors.specs, head]) } };
}

/** The model without the head, as copies; what other programs load. */
export function withoutHead(model: Model, name: HeadName): Model {
  const others = (specs: readonly TensorSpec[]): TensorSpec[] => specs.filter((spec) => spec.name !== name);
  const base = model.base.has(name) ? selectTensors(model.base, others(model.base.specs)) : model.base;
  if (model.adapter === undefined) return { ...model, base };
  const { tensors } = model.adapter;
  return { ...model, base, adapter: { ...model.adapter, tensors: selectTensors(tensors, others(tensors.specs)) } };
}

/** The head's number at every position: hidden states [n, d] -> [n, 1]. */
export const applyHead = (tape: Tape, weights: Gpt2Weights, name: HeadName, hidden: Value): Value =>
  linear(tape, hidden, weights.tensor(name), { transposed: true });
