import { digestOf } from '#lib/contracts/digest.ts';
import type { RetrainInput } from '#lib/contracts/retrain-job.ts';
import { decideImprovement } from '#lib/statistics/improvement.ts';
import { release } from './release.ts';
import { childOf, outputOf, workflow } from './vocabulary.ts';
import type { WorkflowContext } from './workflow-types.ts';

type Context = WorkflowContext<RetrainInput>;

const HOUR_MS = 3_600_000;

/** A retrain of the model was taken in a short while ago: another one would learn the same. */
const isStorm = ({ input: { spec, lastRetrainAtMs, submittedAtMs } }: Context): boolean =>
  lastRetrainAtMs !== null && submittedAtMs - lastRetrainAtMs < spec.stormHours * HOUR_MS;
const trainedWell = (context: Context): boolean => childOf(context, 'training').status === 'COMPLETED';
const failedGate = (context: Context): boolean => childOf(context, 'training').status === 'EVAL_FAILED';
const hasChampion = ({ input }: Context): boolean => input.champion !== null;
const isBetter = (context: Context): boolean => improvement(context).better;

/**
 * A new version of a model in production, on newer data: trained as a child, compared with the version in production on the same items, released only if
 * it is better there. Ends: SKIPPED, COMPLETED, EVAL_FAILED, and those of a release.
 */
export const retrain = workflow<RetrainInput>('retrain@1', (words) => {
  const { chooses, runs, delegates, ends } = words;
  return {
    initial: 'checkingStorm',
    states: {
      checkingStorm: chooses({ when: isStorm, to: 'skipped' }, { to: 'assembling' }),
      assembling: runs('assemble_training_data', {
        lane: 'cpu',
        startToClose: '2h',
        input: assembling,
        onDone: 'training',
      }),
      training: delegates('fine_tune', {
        as: 'training',
        input: training,
        onEnded: [
          { when: trainedWell, to: 'trained' },
          { when: failedGate, to: 'evalFailed' },
          { to: 'trainingFailed' },
        ],
      }),
      trained: chooses({ when: hasChampion, to: 'comparing' }, { to: 'releasing' }),
      comparing: runs('compare_with_champion', {
        lane: 'gpu',
        startToClose: '4h',
        input: comparing,
        onDone: 'attaching',
      }),
      attaching: runs('attach_report', {
        lane: 'cpu',
        startToClose: '30m',
        input: attaching,
        onDone: [{ when: isBetter, to: 'releasing' }, { to: 'notBetter' }],
      }),
      ...release(words, {
        settings: ({ input }) => input.spec.release,
        candidate,
        comparedWith: ({ input: { champion } }) => (champion?.stage === 'prod' ? champion.version : null),
        result,
      }),
      skipped: ends('SKIPPED', ({ input }) => ({
        reason: `a retrain of ${input.spec.model.name} started less than ${input.spec.stormHours} hours ago`,
        lastRetrainAtMs: input.lastRetrainAtMs,
      })),
      evalFailed: ends('EVAL_FAILED', (context) => ({ ...attempted(context), model: null })),
      notBetter: ends('EVAL_FAILED', (context) => ({ ...result(context), reason: improvement(context).reason })),
      trainingFailed: ends('FAILED', attempted),
    },
  };
});

function assembling({ input }: Context) {
  const { jobId, project, spec, champion, training, exclude } = input;
  return {
    jobId,
    project,
    dataset: training.dataset,
    mode: spec.data.mode,
    minimumRows: spec.data.minimumRows,
    exclude,
    former: champion === null ? null : { name: spec.model.name, version: champion.version },
  };
}

/** The fine-tuning that was asked for, on the assembled rows. */
function training(context: Context) {
  const { spec, training } = context.input;
  const { dataset, rowManifest } = outputOf(context, 'assemble_training_data');
  return { ...training, spec: spec.training, dataset, rowManifest, configDigest: digestOf(spec.training) };
}

interface Fine {
  readonly model: { readonly name: string; readonly version: number };
  readonly artifacts: { readonly manifestKey: string; readonly digest: string };
  readonly evaluation: { readonly report: { readonly digest: string } };
}

/** The answer of a fine-tuning that completed. */
const challenger = (context: Context): Fine => childOf(context, 'training').result as Fine;

function comparing(context: Context) {
  const { jobId, spec, champion, comparison, training } = context.input;
  const { suites } = spec.comparison;
  const { model, artifacts } = challenger(context);
  const { base } = training;
  const isAdapter = spec.training.method !== 'full' && base.kind === 'model';
  const stored = isAdapter ? { weights: base.model.weights, adapter: artifacts } : { weights: artifacts };
  const subject = { label: `${model.name}/${model.version}`, ...stored, model };
  const compareWith = champion === null ? [] : [champion.subject];
  return { jobId, subject, compareWith, dataset: comparison, suites, samples: 0, seed: spec.training.seed };
}

function attaching(context: Context) {
  const { report, markdown } = outputOf(context, 'compare_with_champion');
  const { name, version } = challenger(context).model;
  return { jobId: context.input.jobId, model: { name, version }, report, markdown };
}

function improvement(context: Context) {
  const { metric, nonInferiorityMargin } = context.input.spec.comparison;
  const found = outputOf(context, 'compare_with_champion').metrics.find(({ name }) => name === metric);
  return decideImprovement(found, { nonInferiorityMargin });
}

function candidate(context: Context) {
  const { model, artifacts, evaluation } = challenger(context);
  const reports: Record<string, string> = { evaluation: evaluation.report.digest };
  if (hasChampion(context)) reports[context.input.jobId] = outputOf(context, 'compare_with_champion').report.digest;
  return { ...model, artifacts: artifacts.digest, reports };
}

function attempted(context: Context) {
  const { rows, excludedRows, knownRows, dataset } = outputOf(context, 'assemble_training_data');
  const child = childOf(context, 'training');
  return {
    reason: context.input.spec.reason,
    data: { rows, excludedRows, knownRows, sha256: dataset.sha256 },
    training: { jobId: child.jobId, status: child.status, error: child.error, gpuSeconds: child.gpuSeconds },
  };
}

function result(context: Context) {
  const compared = hasChampion(context) ? outputOf(context, 'compare_with_champion') : null;
  return {
    ...attempted(context),
    champion: context.input.champion?.version ?? null,
    comparison:
      compared === null ? null : { metrics: compared.metrics, report: compared.report, decision: improvement(context) },
    model: challenger(context).model,
  };
}
