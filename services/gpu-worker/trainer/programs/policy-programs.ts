import type { PpoSpec } from '#lib/contracts/trainer-protocol.ts';
import { allocateSequences, type SequenceBatch } from '../data/sequences.ts';
import { compile } from '../engine.ts';
import { GraphBuilder, type Value } from '../graph/onnx-model.ts';
import { add, scale } from '../graph/ops/elementwise.ts';
import { linear } from '../graph/ops/linear.ts';
import { clippedPolicyLoss, clippedValueLoss } from '../graph/ops/policy.ts';
import { logProbabilities, weightedSum } from '../graph/ops/sequence.ts';
import { Tape } from '../graph/tape.ts';
import { gpt2Hidden, type Gpt2Weights, TOKEN_EMBEDDING } from '../model/gpt2.ts';
import { applyHead, HEAD } from '../model/head.ts';
import { graphWeights, type Model, weightInputs } from '../model/weights.ts';
import type { BatchSize } from './causal-lm.ts';
import { compileTrainable, trainableGraph } from './trainable-graph.ts';

/** What a policy says at every position of a batch: [rows * length] each, overwritten by the next run. */
export interface PolicyOutputs {
  /** Log-probability of the target at the sampling temperature, in nats. */
  readonly logps: Float32Array;
  /** The value head's estimate before the target; absent for a model without that head. */
  readonly values: Float32Array | undefined;
}

export interface PolicyScoring {
  readonly batch: SequenceBatch;
  run(): Promise<PolicyOutputs>;
  release(): Promise<void>;
}

/** Forward only. `temperature` is the one that responses are sampled with. */
export async function compilePolicyScoring(
  model: Model,
  size: BatchSize,
  temperature: number,
  withValues: boolean,
): Promise<PolicyScoring> {
  const tape = new Tape(new GraphBuilder());
  const batch = allocateSequences(size.batch, size.length);
  const weights = graphWeights(tape, model, { train: false });
  const { logps, hidden } = policyValues(tape, model, weights, size, temperature);
  tape.graph.output('logps', logps);
  if (withValues) tape.graph.output('estimates', applyHead(tape, weights, HEAD.value, hidden));
  const inputs = { ...weightInputs(model), ids: batch.ids, targets: batch.targets };
  const program = await compile(tape.graph, { inputs }, size);
  return {
    batch,
    async run() {
      await program.run();
      return { logps: program.output('logps'), values: withValues ? program.output('estimates') : undefined };
    },
    release: () => program.release(),
  };
}

/** What a minibatch learns from, [rows * length] each; `batch.weights` is 1 where a token of a response is predicted. */
export interface PolicyTraining {
  readonly batch: SequenceBatch;
  readonly oldLogps: Float32Array;
  readonly advantages: Float32Array;
  readonly oldValues: Float32Array;
  readonly returns: Float32Array;
  readonly gradients: Float32Array;
  /** Means over the tokens of the responses; the outputs are as they were before the step. */
  run(): Promise<{ loss: number; policyLoss: number; valueLoss: number; outputs: Required<PolicyOutputs> }>;
  release(): Promise<void>;
}

type LossSettings = Pick<PpoSpec['hyperparameters'], 'cliprange' | 'cliprangeValue' | 'vfCoef' | 'temperature'>;

/** Forward and backward of PPO's loss: clipped objective plus `vfCoef` times the clipped value loss. */
export async function compilePolicyTraining(
  model: Model,
  size: BatchSize,
  settings: LossSettings,
): Promise<PolicyTraining> {
  const graph = trainableGraph(model);
  const { tape, weights } = graph;
  const batch = allocateSequences(size.batch, size.length);
  const positions = size.batch * size.length;
  const column = (name: string): { value: Value; memory: Float32Array } => ({
    value: tape.graph.input(name, 'float32', [positions, 1]),
    memory: new Float32Array(positions),
  });
  const [shares, oldLogps, advantages] = [column('shares'), column('old_logps'), column('advantages')];
  const [oldValues, returns] = [column('old_values'), column('returns')];
  const { logps, hidden } = policyValues(tape, model, weights, size, settings.temperature);
  const estimates = applyHead(tape, weights, HEAD.value, hidden);
  const perToken = clippedPolicyLoss(
    tape,
    logps,
    { oldLogp: oldLogps.value, advantages: advantages.value },
    settings.cliprange,
  );
  const ofValues = { oldValues: oldValues.value, returns: returns.value };
  const policyLoss = weightedSum(tape, perToken, shares.value);
  const perTokenValue = clippedValueLoss(tape, estimates, ofValues, settings.cliprangeValue);
  const valueLoss = weightedSum(tape, perTokenValue, shares.value);
  const outputs = { policy_loss: policyLoss, value_loss: valueLoss, logps, estimates };
  for (const [name, value] of Object.entries(outputs)) tape.graph.output(name, value);
  const loss = add(tape, policyLoss, scale(tape, valueLoss, settings.vfCoef));
  const inputs = {
    ids: batch.ids,
    targets: batch.targets,
    shares: shares.memory,
    old_logps: oldLogps.memory,
    advantages: advantages.memory,
    old_values: oldValues.memory,
    returns: returns.memory,
  };
  const { program, gradients } = await compileTrainable(model, graph, loss, inputs, size);
  return {
    batch,
    oldLogps: oldLogps.memory,
    advantages: advantages.memory,
    oldValues: oldValues.memory,
    returns: returns.memory,
    gradients,
    async run() {
      const total = batch.weights.reduce((sum, weight) => sum + weight, 0);
      batch.weights.forEach((weight, at) => void (shares.memory[at] = weight / total));
      await program.run();
      const only = (name: string): number => program.output(name)[0] ?? Number.NaN;
      return {
        loss: only('loss'),
        policyLoss: only('policy_loss'),
        valueLoss: only('value_loss'),
        outputs: { logps: program.output('logps'), values: program.output('estimates') },
      };
    },
    release: () => program.release(),
  };
}

function policyValues(
  tape: Tape,
  model: Model,
  weights: Gpt2Weights,
  size: BatchSize,
  temperature: number,
): { logps: Value; hidden: Value } {
  const positions = size.batch * size.length;
  const ids = tape.graph.input('ids', 'int32', [positions]);
  const targets = tape.graph.input('targets', 'int32', [positions, 1]);
  const hidden = gpt2Hidden(tape, model.config, weights, ids, size);
  const logits = linear(tape, hidden, weights.tensor(TOKEN_EMBEDDING), { transposed: true });
  const tempered = temperature === 1 ? logits : scale(tape, logits, 1 / temperature);
  return { logps: logProbabilities(tape, tempered, targets), hidden };
}
