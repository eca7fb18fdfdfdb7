import { mkdir } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type { SftSpec } from '#lib/contracts/trainer-protocol.ts';
import { measuringWindows } from '../data/windows.ts';
import { writeModelFolder } from '../formats/model-folder.ts';
import { writeAdapterFolder } from '../formats/peft-adapter.ts';
import { checkResidentMemory, parameterCount } from '../memory.ts';
import type { Send } from '../messages.ts';
import { trainableTensors } from '../model/weights.ts';
import { compileScoring } from './causal-lm.ts';
import { type PreparedSft, prepareSft } from './prepare-sft.ts';
import { StepLines } from './progress.ts';
import { meanLoss, perplexity, scoreWindows } from './score-windows.ts';
import { TrainingRun } from './training-loop.ts';

/** How a program ended without failing. */
export type Outcome = 'done' | 'yielded';

export interface RunContext {
  readonly send: Send;
  /** True from the moment the program was asked to stop. */
  readonly stopRequested: () => boolean;
}

/** Trains to `maxSteps` and writes the result, or stops between two steps with a checkpoint when asked to. */
export async function runSft(spec: SftSpec, context: RunContext): Promise<Outcome> {
  const { send } = context;
  const { hyperparameters } = spec;
  await mkdir(spec.checkpointDir, { recursive: true });
  const prepared = await prepareSft(spec);
  announce(spec, prepared, send);
  const run = await TrainingRun.start(spec, prepared);
  const validate = await compileValidation(spec, prepared, send);
  const startedAt = performance.now();
  const firstStep = run.step;

  const finished = await trainSteps(spec, run, validate, context);
  if (!finished) {
    send({ type: 'checkpoint', step: run.step, dir: await run.save() });
    return 'yielded';
  }
  const validationLoss = await validate();
  if (validationLoss !== undefined) report(send, 'validation.loss', run.step, validationLoss);
  const files = await writeResult(spec, prepared);
  const trainedTokens = (run.step - firstStep) * tokensPerStep(spec);
  const seconds = (performance.now() - startedAt) / 1000;
  send({
    type: 'result',
    steps: hyperparameters.maxSteps,
    metrics: {
      ...(run.curve.state.latest === null ? {} : { 'train.loss': run.curve.state.latest }),
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

/** Steps until done (true) or asked to stop (false). All lines of a step come before its checkpoint's. */
async function trainSteps(
  spec: SftSpec,
  run: TrainingRun,
  validate: Validate,
  { send, stopRequested }: RunContext,
): Promise<boolean> {
  const { maxSteps, checkpointEverySteps, evaluateEverySteps } = spec.hyperparameters;
  const lines = new StepLines(send, maxSteps);
  while (run.step < maxSteps) {
    if (stopRequested()) return false;
    lines.begin();
    const { loss, learningRate, gradientNorm } = await run.advance();
    const { step } = run;
    lines.end({ step, loss, learningRate, gradientNorm, tokens: tokensPerStep(spec) });
    const point = run.curve.add(step, loss);
    if (point !== undefined) report(send, 'train.loss', step, point);
    if (evaluateEverySteps > 0 && step % evaluateEverySteps === 0 && step < maxSteps) {
      const validationLoss = await validate();
      if (validationLoss !== undefined) report(send, 'validation.loss', step, validationLoss);
    }
    checkResidentMemory(spec.limits.maxMemoryMib);
    // The last step gets a checkpoint too: a crash while the result is written must not cost the training.
    if (step % checkpointEverySteps === 0 || step === maxSteps) {
      send({ type: 'checkpoint', step, dir: await run.save() });
    }
  }
  return true;
}

/** The loss on the start of the validation split; undefined when the split holds nothing that counts. */
type Validate = () => Promise<number | undefined>;

async function compileValidation(spec: SftSpec, { data, model }: PreparedSft, send: Send): Promise<Validate> {
  const { batchSize, sequenceLength: length, validationTokens } = spec.hyperparameters;
  const padding = model.config.endOfTextId;
  const plan = measuringWindows(data.validation, length, padding);
  if (plan.count === 0) {
    send({ type: 'log', level: 'warn', message: 'the validation split is empty: no validation loss' });
    return () => Promise.resolve(undefined);
  }
  const program = await compileScoring(model, { batch: batchSize, length, threads: spec.limits.threads });
  const count = Math.ceil(validationTokens / length);
  return async () => meanLoss(await scoreWindows(program, data.validation, plan, { length, count, padding }));
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

const report = (send: Send, name: string, step: number, value: number): void =>
  send({ type: 'metric', name, step, value });
