import { mkdir } from 'node:fs/promises';
import type { RewardSpec } from '#lib/contracts/trainer-protocol.ts';
import { preferencePairs } from '../data/preference-pairs.ts';
import { fillPooling } from '../data/sequences.ts';
import { writeRewardFolder } from '../formats/reward-folder.ts';
import { HEAD, withHead, withoutHead } from '../model/head.ts';
import { loadBase } from '../model/load-base.ts';
import { mergeAdapter } from '../model/lora.ts';
import { type Model, trainableTensors } from '../model/weights.ts';
import { warnOfCuts } from './cut-warning.ts';
import { meanLogisticLoss, rewardMetrics } from './pair-metrics.ts';
import { PairObjective } from './pair-objective.ts';
import { compilePairs, compileRows, rewardOfRow } from './preference-programs.ts';
import { announceAlignment, modelMetrics, type PreparedAlignment, prepareAlignment } from './prepare-alignment.ts';
import { type Outcome, reportAll, type RunContext, trainSteps, type Validate, withPrefix } from './run-loop.ts';
import { type FillRow, pairValues, scorePairs, unknownPairValues } from './score-pairs.ts';
import { TrainingRun } from './training-loop.ts';

/** Trains a Bradley-Terry reward model and writes it, or stops between two steps with a checkpoint when asked to. */
export async function runReward(spec: RewardSpec, context: RunContext): Promise<Outcome> {
  const { send } = context;
  const { hyperparameters } = spec;
  const { batchSize, sequenceLength: length, maxSteps } = hyperparameters;
  await mkdir(spec.checkpointDir, { recursive: true });
  const loaded = await prepareAlignment(spec, 'trainyard-preferences/1', 2 * batchSize, { pooling: spec.pooling });
  const prepared = { ...loaded, model: withHead(loaded.model, HEAD.reward) };
  announceAlignment(spec, prepared, send);
  const pairs = preferencePairs(prepared.data.train, length, { required: 'train' });
  warnOfCuts(pairs, length, send);
  const fill: FillRow = (batch, row, sequence) =>
    fillPooling(batch, row, sequence, prepared.model.config.endOfTextId, spec.pooling);
  const { model, configDigest } = prepared;
  const size = { pairs: batchSize, length, threads: spec.limits.threads };
  const program = await compilePairs(model, rewardOfRow, size, 1);
  const objective = new PairObjective({
    model,
    program,
    pairs,
    seed: spec.seed,
    hyperparameters,
    fill,
    metrics: rewardMetrics,
  });
  const settings = { maxSteps, optimiser: hyperparameters, checkpointDir: spec.checkpointDir, configDigest };
  const run = new TrainingRun(settings, objective);
  if (spec.resumeFrom !== undefined) await run.restore(spec.resumeFrom);
  const validate = await compileValidation(spec, prepared, fill);

  const tokensPerStep = 2 * batchSize * length * hyperparameters.gradientAccumulationSteps;
  const loop = { ...hyperparameters, tokensPerStep, maxMemoryMib: spec.limits.maxMemoryMib };
  if (!(await trainSteps(run, loop, validate, context))) return 'yielded';
  const validation = await validate();
  reportAll(send, run.step, validation);
  const files = await writeResult(spec, prepared);
  const loss = run.latestLoss === null ? {} : { 'train.loss': run.latestLoss };
  const metrics = { ...loss, ...validation, ...modelMetrics(model), 'train.pairs': pairs.count };
  send({ type: 'result', steps: maxSteps, metrics, files });
  await run.release();
  return 'done';
}

async function compileValidation(
  spec: RewardSpec,
  { model, data }: PreparedAlignment,
  fill: FillRow,
): Promise<Validate> {
  const { batchSize, sequenceLength: length, validationPairs: limit } = spec.hyperparameters;
  const pairs = preferencePairs(data.validation, length, { limit });
  if (pairs.count === 0) return () => Promise.resolve({});
  const size = { batch: 2 * batchSize, length, threads: spec.limits.threads };
  const program = await compileRows(model, rewardOfRow, size);
  return async () => {
    const values = unknownPairValues(pairs.count);
    await scorePairs(program, pairs, values, fill);
    const scored = Array.from({ length: pairs.count }, (_, pair) => pairValues(values, pair));
    const loss = meanLogisticLoss(scored.map(({ chosen, rejected }) => chosen - rejected));
    return withPrefix('validation.', { loss, ...rewardMetrics(scored) });
  };
}

/** A reward model is always one folder: an adapter is merged into the base as it was stored (for `qlora` in 32 bits). */
async function writeResult(spec: RewardSpec, { model, data }: PreparedAlignment): Promise<string[]> {
  const head = trainableTensors(model).view(HEAD.reward);
  const trunk = withoutHead(model, HEAD.reward);
  return writeRewardFolder(spec.outputDir, await merged(spec, trunk), head, spec.pooling, data.tokenizerJson);
}

async function merged(spec: RewardSpec, trunk: Model): Promise<Model> {
  if (trunk.adapter === undefined) return trunk;
  const base = await loadBase(spec.base, trunk.config, { std: 0, seed: 0 });
  mergeAdapter(trunk.config, base.base, trunk.adapter);
  return base;
}
