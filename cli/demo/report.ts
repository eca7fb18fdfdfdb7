import { type Static, Type } from '#typebox';
import { type EvaluationMetric, EvaluationReport, Technique } from '#lib/contracts/trainer-protocol.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { JobTypeName, LaneSeconds, methodOf } from './api-answers.ts';
import type { DemoBudget } from './demo-jobs.ts';
import type { JobRecord } from './job-record.ts';
import type { Phase } from './phases.ts';

const Bpb = Type.Number({ minimum: 0, description: 'bits per byte of held-out text' });

/** What the demo found, as `--json` prints it. */
export const DemoReport = Type.Object(
  {
    jobs: Type.Array(
      Type.Object({
        id: Type.String({ minLength: 1 }),
        type: JobTypeName,
        method: Technique,
        status: Type.String({ minLength: 1 }),
      }),
    ),
    /** On the new corpus; `standardError` is that of the paired difference fine-tuned minus base. */
    evaluation: Type.Object({
      unigramBpb: Bpb,
      bigramBpb: Bpb,
      baseBpb: Bpb,
      fineTunedBpb: Bpb,
      standardError: Type.Number({ minimum: 0 }),
    }),
    /** The base model on the corpus it was trained on. */
    baseEvaluation: Type.Object({ unigramBpb: Bpb, bigramBpb: Bpb, baseBpb: Bpb }),
    models: Type.Array(
      Type.Object({
        name: Type.String({ minLength: 1 }),
        version: Type.Integer({ minimum: 1 }),
        stage: Type.String({ minLength: 1 }),
        lineage: Type.Record(Type.String(), Type.String({ minLength: 1 })),
      }),
    ),
    /** `path` is `<model>/<version>/<file>`. */
    manifest: Type.Array(
      Type.Object({
        path: Type.String({ minLength: 1 }),
        bytes: Type.Integer({ minimum: 0 }),
        sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
      }),
    ),
    /** Of both jobs together. */
    laneSeconds: LaneSeconds,
    /** Of the fine-tuned model. */
    samples: EvaluationReport.properties.samples,
    /** One after the other; together the wall time of the demo after installation. */
    phases: Type.Array(Type.Object({ name: Type.String(), seconds: Type.Number({ minimum: 0 }) })),
    training: Type.Array(
      Type.Object({
        model: Type.String(),
        parameters: Type.Integer(),
        trainableParameters: Type.Integer(),
        steps: Type.Integer(),
        tokensPerSecond: Type.Number(),
      }),
    ),
    /** The folder with everything the demo made, and the drawing of the training losses in it. */
    home: Type.String(),
    lossCurve: Type.String(),
  },
  { additionalProperties: false },
);
export type DemoReport = Static<typeof DemoReport>;

/**
 * What the demo claims and this report does not bear out; empty when all is as promised. That the base falls below the bigram baseline of its
 * own corpus is promised from 2,400 steps (docs: 1,600 steps end 0.05 above it, 3,500 end 0.10 below; 2026-11-24).
 */
export function unmetClaims({ evaluation, baseEvaluation }: DemoReport, budget: DemoBudget): string[] {
  const unmet: string[] = [];
  if (evaluation.fineTunedBpb >= evaluation.baseBpb)
    unmet.push('the fine-tuned model is not better than its base on the new corpus');
  const { baseBpb, unigramBpb, bigramBpb } = baseEvaluation;
  if (baseBpb >= unigramBpb) unmet.push('the base model is not below the unigram baseline of its corpus');
  if (budget.baseSteps >= STEPS_BELOW_BIGRAM && baseBpb >= bigramBpb)
    unmet.push(
      `the base model (${baseBpb.toFixed(3)}) is not below the bigram baseline (${bigramBpb.toFixed(3)}) of its corpus`,
    );
  return unmet;
}

const STEPS_BELOW_BIGRAM = 2_400;

/** The report of two completed jobs. Throws when an answer lacks what the report is about. */
export function demoReport(
  [base, tuned]: readonly [JobRecord, JobRecord],
  phases: readonly Phase[],
  files: { readonly home: string; readonly lossCurve: string },
): DemoReport {
  const records = [base, tuned];
  const onOwn = heldOut(base);
  const onNew = heldOut(tuned);
  const { baselineValue, deltaStandardError } = onNew.model;
  invariant(baselineValue !== undefined && deltaStandardError !== undefined, 'the base was scored on the same items');
  return {
    jobs: records.map(({ job }) => ({ id: job.id, type: job.type, method: methodOf(job), status: job.status })),
    evaluation: {
      unigramBpb: onNew.unigram,
      bigramBpb: onNew.bigram,
      baseBpb: baselineValue,
      fineTunedBpb: onNew.model.value,
      standardError: deltaStandardError,
    },
    baseEvaluation: { unigramBpb: onOwn.unigram, bigramBpb: onOwn.bigram, baseBpb: onOwn.model.value },
    models: records.map(({ version: { name, version, stage, lineage } }) => ({ name, version, stage, lineage })),
    manifest: records.flatMap(({ version, files }) =>
      files.map(({ path, bytes, sha256 }) => ({ path: `${version.name}/${version.version}/${path}`, bytes, sha256 })),
    ),
    laneSeconds: {
      useful: rounded(base.job.laneSeconds.useful + tuned.job.laneSeconds.useful),
      lost: rounded(base.job.laneSeconds.lost + tuned.job.laneSeconds.lost),
      waiting: rounded(base.job.laneSeconds.waiting + tuned.job.laneSeconds.waiting),
    },
    samples: tuned.result.samples,
    phases: phases.map(({ name, seconds }) => ({ name, seconds: rounded(seconds) })),
    training: records.map(trainingOf),
    ...files,
  };
}

const rounded = (seconds: number): number => Math.round(seconds * 1_000) / 1_000;

function heldOut({ result }: JobRecord): { model: EvaluationMetric; unigram: number; bigram: number } {
  const metric = (name: string): EvaluationMetric => {
    const found = result.evaluation.metrics.find((candidate) => candidate.name === name);
    invariant(found !== undefined, `the evaluation has ${name}`);
    return found;
  };
  return {
    model: metric('held_out.bits_per_byte'),
    unigram: metric('held_out.unigram_bits_per_byte').value,
    bigram: metric('held_out.bigram_bits_per_byte').value,
  };
}

function trainingOf({ version, result, curves }: JobRecord): DemoReport['training'][number] {
  const figure = (name: string): number => result.training[name] ?? 0;
  return {
    model: `${version.name}/${version.version}`,
    parameters: figure('model.parameters'),
    trainableParameters: figure('model.trainable_parameters'),
    steps: curves.train.at(-1)?.step ?? 0,
    tokensPerSecond: figure('train.tokens_per_second'),
  };
}
