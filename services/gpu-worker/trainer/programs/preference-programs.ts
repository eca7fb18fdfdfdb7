import { allocateSequences, type SequenceBatch } from '../data/sequences.ts';
import { compile } from '../engine.ts';
import { GraphBuilder, type Value } from '../graph/onnx-model.ts';
import { scale } from '../graph/ops/elementwise.ts';
import { linear } from '../graph/ops/linear.ts';
import {
  halvesDifference,
  logProbabilities,
  logSigmoid,
  minusData,
  sequenceSums,
  weightedSum,
} from '../graph/ops/sequence.ts';
import { Tape } from '../graph/tape.ts';
import { gpt2Hidden, type Gpt2Weights, TOKEN_EMBEDDING } from '../model/gpt2.ts';
import { applyHead, HEAD } from '../model/head.ts';
import { graphWeights, type Model, weightInputs } from '../model/weights.ts';
import type { BatchSize } from './causal-lm.ts';
import type { DropoutMasks } from './dropout.ts';
import { compileTrainable, trainableGraph } from './trainable-graph.ts';

/** Forward and backward of a loss on pairs. Rows `0 .. pairs - 1` are chosen, rows `pairs .. 2 pairs - 1` the rejected ones. */
export interface PairProgram {
  readonly batch: SequenceBatch;
  /** [pairs]: how much each pair counts; the caller makes them sum to 1. */
  readonly pairWeights: Float32Array;
  /** [pairs]: what is taken off each difference: the reference's log-probabilities (DPO); zeros for a reward model. */
  readonly offsets: Float32Array;
  readonly gradients: Float32Array;
  readonly dropout: DropoutMasks | undefined;
  /** The weighted loss; `values` are then the rows' rewards or log-probabilities. */
  run(): Promise<number>;
  /** [2 pairs], overwritten by each run. */
  readonly values: Float32Array;
  release(): Promise<void>;
}

/** What a row is worth: [rows * length] positions of hidden states -> [rows, 1]. */
type RowValue = (tape: Tape, model: Model, weights: Gpt2Weights, hidden: Value, inputs: RowInputs) => Value;

interface RowInputs {
  readonly targets: Value;
  readonly weights: Value;
}

/** The pooled output of the reward head. */
export const rewardOfRow: RowValue = (tape, _model, weights, hidden, inputs) =>
  sequenceSums(tape, applyHead(tape, weights, HEAD.reward, hidden), inputs.weights);

/** The summed log-probability of the completion. */
export const logProbabilityOfRow: RowValue = (tape, _model, weights, hidden, inputs) => {
  const logits = linear(tape, hidden, weights.tensor(TOKEN_EMBEDDING), { transposed: true });
  return sequenceSums(tape, logProbabilities(tape, logits, inputs.targets), inputs.weights);
};

/**
 * Loss per pair: `-log sigmoid(beta * (value(chosen) - value(rejected) - offset))`. With the reward head and beta 1 this is the
 * Bradley-Terry likelihood, with log-probabilities and the reference as offset DPO (Rafailov et al. 2023, equation 7).
 */
export async function compilePairs(
  model: Model,
  rowValue: RowValue,
  size: { pairs: number; length: number; threads: number },
  beta: number,
): Promise<PairProgram> {
  const { pairs, length } = size;
  const graph = trainableGraph(model);
  const { tape } = graph;
  const batch = allocateSequences(2 * pairs, length);
  const pairWeights = new Float32Array(pairs);
  const offsets = new Float32Array(pairs);
  const values = rowValues(tape, model, graph.weights, rowValue, { batch: 2 * pairs, length });
  const differences = minusData(
    tape,
    halvesDifference(tape, values),
    tape.graph.input('offsets', 'float32', [pairs, 1]),
  );
  const likelihoods = logSigmoid(tape, scale(tape, differences, beta));
  const loss = scale(tape, weightedSum(tape, likelihoods, tape.graph.input('pair_weights', 'float32', [pairs, 1])), -1);
  tape.graph.output('values', values);
  const memory = { ...batchMemory(batch), pair_weights: pairWeights, offsets };
  const { program, gradients, dropout } = await compileTrainable(model, graph, loss, memory, size);
  return {
    batch,
    pairWeights,
    offsets,
    gradients,
    dropout,
    values: program.output('values'),
    async run() {
      await program.run();
      return program.output('loss')[0] ?? Number.NaN;
    },
    release: () => program.release(),
  };
}

/** Forward only: the value of each row. */
export interface RowProgram {
  readonly batch: SequenceBatch;
  /** [rows], overwritten by the next run. */
  run(): Promise<Float32Array>;
  release(): Promise<void>;
}

export async function compileRows(model: Model, rowValue: RowValue, size: BatchSize): Promise<RowProgram> {
  const tape = new Tape(new GraphBuilder());
  const batch = allocateSequences(size.batch, size.length);
  const weights = graphWeights(tape, model, { train: false });
  tape.graph.output('values', rowValues(tape, model, weights, rowValue, size));
  const program = await compile(tape.graph, { inputs: { ...weightInputs(model), ...batchMemory(batch) } }, size);
  return {
    batch,
    async run() {
      await program.run();
      return program.output('values');
    },
    release: () => program.release(),
  };
}

function rowValues(
  tape: Tape,
  model: Model,
  weights: Gpt2Weights,
  rowValue: RowValue,
  size: { batch: number; length: number },
): Value {
  const positions = size.batch * size.length;
  const ids = tape.graph.input('ids', 'int32', [positions]);
  const inputs: RowInputs = {
    targets: tape.graph.input('targets', 'int32', [positions, 1]),
    weights: tape.graph.input('weights', 'float32', [size.batch, size.length]),
  };
  return rowValue(tape, model, weights, gpt2Hidden(tape, model.config, weights, ids, size), inputs);
}

const batchMemory = ({ ids, targets, weights }: SequenceBatch): Record<string, Int32Array | Float32Array> => ({
  ids,
  targets,
  weights,
});
