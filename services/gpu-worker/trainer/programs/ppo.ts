import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { PpoSpec } from '#lib/contracts/trainer-protocol.ts';
import { mulberry32 } from '#lib/kernel/random.ts';
import { requireRows } from '../data/preference-pairs.ts';
import { readRewardFolder } from '../formats/reward-folder.ts';
import { HEAD, withHead, withoutHead } from '../model/head.ts';
import { weightsDigest } from '../model/load-base.ts';
import type { Model } from '../model/weights.ts';
import { derivedSeed, PURPOSE } from '../random.ts';
import { checkSequenceLength } from '../spec.ts';
import { type Experience, ExperienceMaker, experienceMetrics } from './experience.ts';
import { StopRequested } from './objective.ts';
import { compilePolicyTraining } from './policy-programs.ts';
import { PpoObjective, ppoStepsPerRound } from './ppo-objective.ts';
import {
  announceAlignment,
  modelMetrics,
  type PreparedAlignment,
  prepareAlignment,
  writePolicy,
} from './prepare-alignment.ts';
import { type Outcome, reportAll, type RunContext, trainSteps, type Validate, withPrefix } from './run-loop.ts';
import { TrainingRun } from './training-loop.ts';

/** Trains with PPO and writes the policy, or stops between two steps (or tokens) with a checkpoint when asked to. */
export async function runPpo(spec: PpoSpec, context: RunContext): Promise<Outcome> {
  const { send, stopRequested } = context;
  const { hyperparameters } = spec;
  const { rounds, batchSize, numMiniBatches, sequenceLength: length } = hyperparameters;
  const maxSteps = rounds * ppoStepsPerRound(hyperparameters);
  await mkdir(spec.checkpointDir, { recursive: true });
  const { prepared, maker } = await prepare(spec);
  announceAlignment(spec, prepared, send);
  const { model: policy, data, configDigest } = prepared;
  requireRows(data.train, 'train');
  const size = { batch: batchSize / numMiniBatches, length, threads: spec.limits.threads };
  const objective = new PpoObjective({
    spec,
    policy,
    maker,
    program: await compilePolicyTraining(policy, size, hyperparameters),
    prompts: data.train,
    afterToken: () => {
      if (stopRequested()) throw new StopRequested();
    },
  });
  const settings = { maxSteps, optimiser: hyperparameters, checkpointDir: spec.checkpointDir, configDigest };
  const run = new TrainingRun(settings, objective);
  if (spec.resumeFrom !== undefined) await run.restore(spec.resumeFrom);
  const validate = validation(spec, prepared, maker);
  // Where it starts from: without it nobody could say what PPO gained.
  if (run.step === 0 && hyperparameters.evaluateEverySteps > 0) reportAll(send, 0, await validate());

  const tokensPerStep = size.batch * length;
  const loop = { ...hyperparameters, maxSteps, tokensPerStep, maxMemoryMib: spec.limits.maxMemoryMib };
  if (!(await trainSteps(run, loop, validate, context))) return 'yielded';
  const held = await validate();
  reportAll(send, run.step, held);
  const files = await writePolicy(spec.outputDir, withoutHead(policy, HEAD.value), data.tokenizerJson);
  const loss = run.latestLoss === null ? {} : { 'train.loss': run.latestLoss };
  const metrics = { ...loss, ...held, ...modelMetrics(policy), 'train.responses': rounds * batchSize };
  send({ type: 'result', steps: maxSteps, metrics, files });
  await run.release();
  return 'done';
}

/** Policy with value head, frozen reference and reward model, all with the tokenizer of the prompts. */
async function prepare(spec: PpoSpec): Promise<{ prepared: PreparedAlignment; maker: ExperienceMaker }> {
  const { hyperparameters } = spec;
  const rows = hyperparameters.batchSize / hyperparameters.numMiniBatches;
  const loaded = await prepareAlignment(spec, 'trainyard-prompts/1', rows);
  const reward = await readRewardFolder(spec.rewardModelDir, loaded.data.description.tokenizer);
  checkSequenceLength(hyperparameters.sequenceLength, reward.model.config.contextLength);
  // Whatever is scored differently is another run.
  const identity = [loaded.configDigest, weightsDigest(reward.model), reward.pooling].join(' ');
  const configDigest = createHash('sha256').update(identity).digest('hex');
  const policy = withHead(loaded.model, HEAD.value);
  const models = { policy, reference: referenceOf(loaded.model), reward };
  const maker = await ExperienceMaker.compile(models, hyperparameters, spec.limits.threads);
  return { prepared: { ...loaded, model: policy, configDigest }, maker };
}

/** The base without what is trained. With a full technique the policy is a copy already, made when it got its head. */
function referenceOf(model: Model): Model {
  const { adapter: _trained, ...frozen } = model;
  return frozen;
}

/** Responses to held-out prompts, always with the same random numbers: differences between two steps are the policy's. */
function validation(spec: PpoSpec, { data }: PreparedAlignment, maker: ExperienceMaker): Validate {
  const { batchSize, validationPrompts, klCoef } = spec.hyperparameters;
  const count = Math.min(validationPrompts, data.validation.count);
  if (count === 0) return () => Promise.resolve({});
  return async () => {
    const random = mulberry32(derivedSeed(spec.seed, PURPOSE.validation));
    const sums: Record<string, number> = {};
    for (let begin = 0; begin < count; begin += batchSize) {
      const size = Math.min(batchSize, count - begin);
      const prompts = Array.from({ length: size }, (_, row) => data.validation.at(begin + row)[0] ?? new Uint16Array());
      const part = heldOutMetrics(await maker.make(prompts, random), klCoef);
      for (const [name, value] of Object.entries(part)) sums[name] = (sums[name] ?? 0) + (value * size) / count;
    }
    return withPrefix('validation.', sums);
  };
}

/** The means that mean something for a policy as it is. */
function heldOutMetrics(experience: Experience, klCoef: number): Record<string, number> {
  const metrics = experienceMetrics(experience, klCoef);
  const names = ['objective/kl', 'objective/scores', 'objective/rlhf_reward'];
  return Object.fromEntries(names.map((name) => [name, metrics[name] ?? Number.NaN]));
}
