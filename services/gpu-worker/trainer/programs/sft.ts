import { mkdir } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { measuringWindows } from '../data/windows.ts';
import { writeModelFolder } from '../formats/model-folder.ts';
import { writeAdapterFolder } from '../formats/peft-adapter.ts';
import { parameterCount } from '../memory.ts';
import type { Send } from '../messages.ts';
import { trainableTensors } from '../model/weights.ts';
import { compileScoring } from './causal-lm.ts';
import { type PreparedSft, prepareSft } from './prepare-sft.ts';
import { type Outcome, reportAll, type RunContext, trainSteps, type Validate } from './run-loop.ts';
import { meanLoss, perplexity, scoreWindows } from './score-windows.ts';
import { SftObjective } from './sft-objective.ts';
import { TrainingRun } from './training-loop.ts';

/** Trains to `maxSteps` and writes the result, or stops between two steps with a checkpoint when asked to. */
export async function runSft(spec: SftSpec, context: RunContext): Promise<Outcome> {
  const { send } = context;
  const { hyperparameters } = spec;
  await mkdir(spec.checkpointDir, { recursive: true });
  const prepared = await prepareSft(spec);
  announce(spec, prepared, send);
  const run = await startRun(spec, prepared);
  const validate = await compileValidation(spec, prepared, send);
  const startedAt = performance.now();
  const firstStep = run.step;

  const loop = { ...hyperparameters, tokensPerStep: tokensPerStep(spec), maxMemoryMib: spec.limits.maxMemoryMib };
  if (!(await trainSteps(run, loop, validate, context))) return 'yielded';
  const validation = await validate();
  reportAll(send, run.step, validation);
  const validationLoss = validation['validation.loss'];
  const files = await writeResult(spec, prepared);
  const trainedTokens = (run.step - firstStep) * tokensPerStep(spec);
  const seconds = (performance.now() - startedAt) / 1000;
  send({
    type: 'result',
    steps: hyperparameters.maxSteps,
    metrics: {
      ...(run.latestLoss === null ? {} : { 'train.loss': run.latestLoss }),
      ...(validationLoss === undefined
        ? {}
        : { 'validation.loss': validationLoss, 'validation.perplexity': perplexity(validationLoss) }),
      'model.parameters': parameterCount(prepared.model.config),
      'model.trainable_parameters': trainableTensors(prepared.model).data.length,
      'train.tokens': run.step * tokensPerStep(spec),
      ...(trainedTokens > 0 ? { 'train.tokens_per_second': Math.round(trainedTokens / seconds) } : {}),
    },
    files,
  });
  await run.release();
  return 'done';
}

async function startRun(spec: SftSpec, prepared: PreparedSft): Promise<TrainingRun> {
  const { hyperparameters: optimiser, checkpointDir, resumeFrom } = spec;
  const settings = { maxSteps: optimiser.maxSteps, optimiser, checkpointDir, configDigest: prepared.configDigest };
  const run = new TrainingRun(settings, await SftObjective.compile(spec, prepared));
  if (resumeFrom !== undefined) await run.restore(resumeFrom);
  return run;
}

/** The loss on the start of the validation split; nothing when the split holds nothing that counts. */
async function compileValidation(spec: SftSpec, { data, model }: PreparedSft, send: Send): Promise<Validate> {
  const { batchSize, sequenceLength: length, validationTokens } = spec.hyperparameters;
  const padding = model.config.endOfTextId;
  const plan = measuringWindows(data.validation, length, padding);
  if (plan.count === 0) {
    send({ type: 'log', level: 'warn', message: 'the validation split is empty: no validation loss' });
    return () => Promise.resolve({});
  }
  const program = await compileScoring(model, { batch: batchSize, length, threads: spec.limits.threads });
  const count = Math.ceil(validationTokens / length);
  return async () => {
    const scores = await scoreWindows(program, data.validation, plan, { length, count, padding });
    return { 'validation.loss': meanLoss(scores) };
  };
}

async function writeResult(spec: SftSpec, { model, data }: PreparedSft): Promise<string[]> {
  return model.adapter === undefined
    ? writeModelFolder(spec.outputDir, model.config, model.base, data.tokenizerJson)
    : writeAdapterFolder(spec.outputDir, model.config, model.adapter, data.tokenizerJson);
}

function announce(spec: SftSpec, { model, data }: PreparedSft, send: Send): void {
  const parameters = parameterCount(model.config);
  const trainable = trainableTensors(model).data.length;
  const tokens = data.train.ids.length;
  const message = `sft ${spec.technique}: ${parameters} parameters, ${trainable} trainable, ${tokens} training tokens`;
  send({ type: 'log', level: 'info', message });
  if (model.adapter !== undefined && spec.base.kind === 'model' && spec.base.adapterDir !== undefined) {
    const warning = 'the new adapter applies to the base with its adapter merged in, not to the base alone';
    send({ type: 'log', level: 'warn', message: warning });
  }
}

const tokensPerStep = ({ hyperparameters: h }: SftSpec): number =>
  h.batchSize * h.sequenceLength * h.gradientAccumulationSteps;
