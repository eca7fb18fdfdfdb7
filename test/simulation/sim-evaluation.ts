import type { ActivityContext } from '#lib/worker/activity.ts';
import type { EvaluationMetric, EvaluationSuite } from '#lib/contracts/trainer-protocol.ts';
import type { Run, Tools } from './activity-tools.ts';
import { digestOf } from './artifacts.ts';
import { runProgram } from './sim-program.ts';

/** The seed of a job decides what is measured; one in so many fails a gate, and of one in so many a metric is missing. */
const BAD_TEXT_EVERY = 4;
const WORSE_THAN_CHAMPION_EVERY = 3;
const TOXIC_EVERY = 5;
const UNMEASURED_EVERY = 7;
const DISLIKED_EVERY = 6;

const metric = (name: string, value: number, more: Partial<EvaluationMetric> = {}): EvaluationMetric => ({
  name,
  value,
  standardError: null,
  higherIsBetter: false,
  count: 10,
  ...more,
});

function measured({ suite }: EvaluationSuite, seed: number): EvaluationMetric[] {
  const one = (every: number, bad: number, good: number): number => (seed % every === 0 ? bad : good);
  switch (suite) {
    case 'held_out_text': {
      const delta = one(WORSE_THAN_CHAMPION_EVERY, 0.1, -0.5);
      const difference = { baselineValue: 3, delta, deltaStandardError: 0.01 };
      return [metric('held_out.bits_per_byte', one(BAD_TEXT_EVERY, 9, 2), difference)];
    }
    case 'toxicity':
      return seed % UNMEASURED_EVERY === 0 ? [] : [metric('toxicity.share', one(TOXIC_EVERY, 0.5, 0.01))];
    case 'preference_accuracy':
      return [metric('preference.accuracy', one(DISLIKED_EVERY, 0.4, 0.8), { higherIsBetter: true })];
    default:
      return [];
  }
}

/** A report holds neither a time nor an attempt: the same evaluation gives the same bytes. */
async function report({ store }: Tools, { jobId, activityId, epoch }: ActivityContext, ending: string) {
  const body = `${activityId} of ${jobId} as ${ending}`;
  const { key } = await store.put(`reports/${jobId}/${activityId}-e${epoch}.${ending}`, Buffer.from(body));
  return { key, digest: digestOf(body) };
}

export const runEvaluation: Run<'run_evaluation'> = async (tools, context) => {
  await runProgram(tools.world, tools.life, context, { steps: 3, slowestStepMs: 300 });
  const { suites, seed } = context.input;
  return {
    report: await report(tools, context, 'json'),
    metrics: suites.flatMap((suite) => measured(suite, seed)),
    samples: [],
  };
};

export const evaluateModels: Run<'evaluate_models'> = async (tools, context) => {
  await runProgram(tools.world, tools.life, context, { steps: 3, slowestStepMs: 300 });
  const { suites, seed, compareWith } = context.input;
  const metrics = suites.flatMap((suite) => measured(suite, seed));
  return {
    report: await report(tools, context, 'json'),
    markdown: await report(tools, context, 'md'),
    metrics,
    comparisons: compareWith.map(({ label }) => ({ label, metrics })),
    samples: [],
  };
};
