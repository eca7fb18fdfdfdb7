import type { Batch } from '../data/windows.ts';
import { compile, type Program } from '../engine.ts';
import { GraphBuilder, type Value } from '../graph/onnx-model.ts';
import { linear } from '../graph/ops/linear.ts';
import { crossEntropy } from '../graph/ops/lookup.ts';
import { Tape } from '../graph/tape.ts';
import { gpt2Hidden, TOKEN_EMBEDDING } from '../model/gpt2.ts';
import { graphWeights, type Model, weightInputs } from '../model/weights.ts';
import type { DropoutMasks } from './dropout.ts';
import { compileTrainable, trainableGraph } from './trainable-graph.ts';

export interface BatchSize {
  readonly batch: number;
  /** Tokens per sequence. */
  readonly length: number;
  readonly threads: number;
}

/** Forward and backward of the next-token loss on one batch in memory. */
export interface TrainingProgram {
  readonly batch: Batch;
  /** Laid out as `trainableTensors(model).data`; overwritten by each run. */
  readonly gradients: Float32Array;
  /** Present when the adapter has dropout; drawn anew by the caller before each run. */
  readonly dropout: DropoutMasks | undefined;
  /** The weighted sum of token losses; the caller scales `batch.weights` so that they sum to 1 over an optimiser step. */
  run(): Promise<number>;
  release(): Promise<void>;
}

export async function compileTraining(model: Model, size: BatchSize): Promise<TrainingProgram> {
  const graph = trainableGraph(model);
  const { tape, weights } = graph;
  const batch = allocateBatch(size);
  const inputs = batchInputs(tape, size);
  const hidden = gpt2Hidden(tape, model.config, weights, inputs.ids, size);
  const logits = linear(tape, hidden, weights.tensor(TOKEN_EMBEDDING), { transposed: true });
  const { loss } = crossEntropy(tape, logits, inputs.targets, inputs.weights);
  const { program, gradients, dropout } = await compileTrainable(model, graph, loss, batchMemory(batch), size);
  return {
    batch,
    gradients,
    dropout,
    async run() {
      await program.run();
      return program.output('loss')[0] ?? Number.NaN;
    },
    release: () => program.release(),
  };
}

/** Forward only: the loss of every token of a batch, in nats. */
export interface ScoringProgram {
  readonly batch: Batch;
  /** [batch * length], overwritten by the next run. `batch.weights` does not influence it. */
  run(): Promise<Float32Array>;
  release(): Promise<void>;
}

export async function compileScoring(model: Model, size: BatchSize): Promise<ScoringProgram> {
  const tape = new Tape(new GraphBuilder());
  const batch = allocateBatch(size);
  const weights = graphWeights(tape, model, { train: false });
  const inputs = batchInputs(tape, size);
  const hidden = gpt2Hidden(tape, model.config, weights, inputs.ids, size);
  const logits = linear(tape, hidden, weights.tensor(TOKEN_EMBEDDING), { transposed: true });
  tape.graph.output('token_losses', crossEntropy(tape, logits, inputs.targets, inputs.weights).perToken);
  const memory = { ...weightInputs(model), ...batchMemory(batch) };
  const program = await compile(tape.graph, { inputs: memory }, size);
  return {
    batch,
    async run() {
      await program.run();
      return program.output('token_losses');
    },
    release: () => program.release(),
  };
}

/** Forward only, with the head applied to one position of each sequence: what sampling needs. */
export interface NextTokenProgram {
  /** [batch * length]; what follows the chosen position is not seen. */
  readonly ids: Int32Array;
  /** [batch]: row `b`'s position as `b * length + position`. */
  readonly rows: Int32Array;
  /** Logits [batch * vocabularySize], overwritten by the next run. */
  run(): Promise<Float32Array>;
  release(): Promise<void>;
}

export async function compileNextToken(model: Model, size: BatchSize): Promise<NextTokenProgram> {
  const tape = new Tape(new GraphBuilder());
  const ids = new Int32Array(size.batch * size.length);
  const rows = new Int32Array(size.batch);
  const weights = graphWeights(tape, model, { train: false });
  const idsValue = tape.graph.input('ids', 'int32', [ids.length]);
  const rowsValue = tape.graph.input('rows', 'int32', [rows.length]);
  const hidden = gpt2Hidden(tape, model.config, weights, idsValue, size);
  const width = model.config.embeddingSize;
  const picked = tape.graph.node('Gather', [hidden, rowsValue], [size.batch, width], { attributes: { axis: 0 } });
  tape.graph.output('logits', linear(tape, picked, weights.tensor(TOKEN_EMBEDDING), { transposed: true }));
  const program: Program = await compile(tape.graph, { inputs: { ...weightInputs(model), ids, rows } }, size);
  return {
    ids,
    rows,
    async run() {
      await program.run();
      return program.output('logits');
    },
    release: () => program.release(),
  };
}

function batchInputs(tape: Tape, size: BatchSize): { ids: Value; targets: Value; weights: Value } {
  const rows = size.batch * size.length;
  return {
    ids: tape.graph.input('ids', 'int32', [rows]),
    targets: tape.graph.input('targets', 'int32', [rows, 1]),
    weights: tape.graph.input('weights', 'float32', [rows, 1]),
  };
}

function allocateBatch({ batch, length }: BatchSize): Batch {
  const rows = batch * length;
  return { ids: new Int32Array(rows), targets: new Int32Array(rows), weights: new Float32Array(rows) };
}

const batchMemory = (batch: Batch): Record<string, Int32Array | Float32Array> => ({
  ids: batch.ids,
  targets: batch.targets,
  weights: batch.weights,
});
