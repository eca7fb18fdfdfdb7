import { mkdir } from 'node:fs/promises';
import type { DpoSpec } from '#lib/contracts/trainer-protocol.ts';
import { type PreferencePairs, preferencePairs } from '../data/preference-pairs.ts';
import { fillPredicting } from '../data/sequences.ts';
import { checkResidentMemory } from '../memory.ts';
import { warnOfCuts } from './cut-warning.ts';
import { StopRequested } from './objective.ts';
import { dpoMetrics, meanLogisticLoss, type PairValues } from './pair-metrics.ts';
import { PairObjective } from './pair-objective.ts';
import { compilePairs, compileRows, logProbabilityOfRow, type RowProgram } from './preference-programs.ts';
import {
  announceAlignment,
  modelMetrics,
  type PreparedAlignment,
  prepareAlignment,
  writePolicy,
} from './prepare-alignment.ts';
import { StepLines } from './progress.ts';
import { type Outcome, reportAll, type RunContext, trainSteps, type Validate, withPrefix } from './run-loop.ts';
import { type FillRow, pairValues, scorePairs, unknownPairValues } from './score-pairs.ts';
import { TrainingRun } from './training-loop.ts';

/**
 * Trains with DPO and writes the policy, or stops with a checkpoint when asked to, also while the reference's log-probabilities are
 * being computed. The base is the reference: it is asked once about every training pair, and the answers travel in the checkpoints.
 */
export async function runDpo(spec: DpoSpec, context: RunContext): Promise<Outcome> {
  const { send } = context;
  const { hyperparameters } = spec;
  const { batchSize, sequenceLength: length, maxSteps, beta } = hyperparameters;
  await mkdir(spec.checkpointDir, { recursive: true });
  const prepared = await prepareAlignment(spec, 'trainyard-preferences/1', 2 * batchSize);
  announceAlignment(spec, prepared, send);
  const { model, data, configDigest } = prepared;
  const pairs = preferencePairs(data.train, length, { required: 'train' });
  warnOfCuts(pairs, length, send);
  const fill: FillRow = (batch, row, sequence) => fillPredicting(batch, row, sequence, model.config.endOfTextId);
  const threads = spec.limits.threads;
  const scoring = await compileRows(model, logProbabilityOfRow, { batch: 2 * batchSize, length, threads });
  // Before a checkpoint replaces the base's weights.
  const validate = await compileValidation(spec, prepared, scoring, fill);
  const reference = unknownPairValues(pairs.count);
  const program = await compilePairs(model, logProbabilityOfRow, { pairs: batchSize, length, threads }, beta);
  const metrics = (policy: readonly PairValues[], known: readonly PairValues[]): Record<string, number> =>
    dpoMetrics(policy, known, beta);
  const objective = new PairObjective({
    model,
    program,
    pairs,
    seed: spec.seed,
    hyperparameters,
    fill,
    reference,
    metrics,
  });
  const settings = { maxSteps, optimiser: hyperparameters, checkpointDir: spec.checkpointDir, configDigest };
  const run = new TrainingRun(settings, objective);
  if (spec.resumeFrom !== undefined) await run.restore(spec.resumeFrom);
  // Unknown only before the first step, when the policy still is the reference.
  if (reference.some(Number.isNaN)) run.changed();
  if (!(await completeReference(spec, scoring, pairs, reference, fill, context))) {
    send({ type: 'checkpoint', step: run.step, dir: await run.save() });
    return 'yielded';
  }

  const tokensPerStep = 2 * batchSize * length * hyperparameters.gradientAccumulationSteps;
  const loop = { ...hyperparameters, tokensPerStep, maxMemoryMib: spec.limits.maxMemoryMib };
  if (!(await trainSteps(run, loop, validate, context))) return 'yielded';
  const validation = await validate();
  reportAll(send, run.step, validation);
  const files = await writePolicy(spec.outputDir, model, data.tokenizerJson);
  const loss = run.latestLoss === null ? {} : { 'train.loss': run.latestLoss };
  const all = { ...loss, ...validation, ...modelMetrics(model), 'train.pairs': pairs.count };
  send({ type: 'result', steps: maxSteps, metrics: all, files });
  await run.release();
  return 'done';
}

/** True when every pair's reference is known, false when asked to stop before. */
async function completeReference(
  spec: DpoSpec,
  scoring: RowProgram,
  pairs: PreferencePairs,
  reference: Float32Array,
  fill: FillRow,
  { send, stopRequested }: RunContext,
): Promise<boolean> {
  const lines = new StepLines(send, spec.hyperparameters.maxSteps);
  try {
    await scorePairs(scoring, pairs, reference, fill, () => {
      // Step 0 again and again: a worker sees that the program is alive.
      lines.end({ step: 0, tokens: 0 });
      checkResidentMemory(spec.limits.maxMemoryMib);
      if (stopRequested()) throw new StopRequested();
    });
    return true;
  } catch (error) {
    if (error instanceof StopRequested) return false;
    throw error;
  }
}

/** Scores held-out pairs with the model as it is now, the reference, and later again with what it has become. */
async function compileValidation(
  spec: DpoSpec,
  { data }: PreparedAlignment,
  scoring: RowProgram,
  fill: FillRow,
): Promise<Validate> {
  const { sequenceLength, validationPairs: limit, beta } = spec.hyperparameters;
  const pairs = preferencePairs(data.validation, sequenceLength, { limit });
  if (pairs.count === 0) return () => Promise.resolve({});
  const score = async (): Promise<PairValues[]> => {
    const values = unknownPairValues(pairs.count);
    await scorePairs(scoring, pairs, values, fill);
    return Array.from({ length: pairs.count }, (_, pair) => pairValues(values, pair));
  };
  const reference = await score();
  return async () => {
    const policy = await score();
    const margins = policy.map(({ chosen, rejected }, pair) => {
      const known = reference[pair];
      return beta * (chosen - rejected - ((known?.chosen ?? Number.NaN) - (known?.rejected ?? Number.NaN)));
    });
    return withPrefix('validation.', { loss: meanLogisticLoss(margins), ...dpoMetrics(policy, reference, beta) });
  };
}
