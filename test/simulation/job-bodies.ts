import type { JobType } from '#lib/contracts/jobs.ts';
import { BASE_MODEL, IN_PRODUCTION } from './first-models.ts';
import type { SimRandom } from './sim-random.ts';

/** What people ask for, by type: bodies as they go through the gateway's front door. */
type Body = (random: SimRandom, idempotencyKey: string) => Record<string, unknown>;

const body =
  (type: JobType, spec: (random: SimRandom) => Record<string, unknown>): Body =>
  (random, idempotencyKey) => ({
    type,
    idempotencyKey,
    priority: random.pick(['low', 'normal', 'high', 'urgent']),
    spec: spec(random),
  });

/** Tells the simulated programs how well it goes; 1 to 100. */
const seed = (random: SimRandom): number => random.int(1, 100);

const HELD_OUT = {
  suites: [{ suite: 'held_out_text' }],
  policy: [{ metric: 'held_out.bits_per_byte', operator: '<', threshold: 3 }],
};

function training(random: SimRandom, model: string, hyperparameters: object): Record<string, unknown> {
  return {
    dataset: { name: 'corpus' },
    base: { config: { layers: 1, heads: 1, embeddingSize: 8, contextLength: 64 } },
    method: 'full',
    model: { name: model },
    hyperparameters: { learningRate: 0.01, evaluateEverySteps: 1, ...hyperparameters },
    seed: seed(random),
    evaluation: HELD_OUT,
  };
}

const fewSteps = (random: SimRandom) => ({ maxSteps: random.int(2, 12), checkpointEverySteps: random.int(1, 4) });

const fineTune = body('fine_tune', (random) =>
  training(
    random,
    random.pick(['model-a', 'model-b']),
    // Some logs grow beyond the first snapshot.
    random.chance(0.15) ? { maxSteps: random.int(60, 100), checkpointEverySteps: 1 } : fewSteps(random),
  ),
);

/** Seconds as the hours that settings are in. */
const hours = (seconds: number): number => seconds / 3_600;

/** Some are not promoted, some without asking anybody; tickets may expire before anybody answers. */
function release(random: SimRandom): Record<string, unknown> {
  if (random.chance(0.15)) return { promote: false };
  const expiresAfterHours = hours(random.pick([4, 20, 3_600]));
  const approval = { required: random.int(1, 2), expiresAfterHours, remindEveryHours: expiresAfterHours / 3 };
  const canary = {
    minimumHours: 0,
    maximumHours: hours(20),
    onInconclusive: random.pick(['approval', 'rollback']),
  };
  return {
    promote: true,
    ...(random.chance(0.6) ? { approval } : {}),
    ...(random.chance(0.6) ? { canary } : {}),
  };
}

/** A model that is in production, so that there is a canary; or a new one. */
const released = (random: SimRandom): string => (random.chance(0.7) ? IN_PRODUCTION : 'new-model');

const hpo = body('hpo', (random) => ({
  trial: training(random, released(random), { maxSteps: random.int(4, 10), checkpointEverySteps: random.int(1, 3) }),
  space: {
    parameters: [
      { name: 'learningRate', type: 'categorical', choices: [0.001, 0.003, 0.01] },
      { name: 'warmupSteps', type: 'int', min: 0, max: 3 },
    ],
  },
  sampler: random.pick([{ type: 'random' }, { type: 'grid' }, { type: 'tpe', startupTrials: 2, candidates: 4 }]),
  objective: { metric: 'validation.loss', direction: 'minimize' },
  pruning: random.pick([
    { strategy: 'livePercentile', drop: 0.5, warmUpSteps: 1, everySteps: 1, minimumTrials: 2 },
    { strategy: 'liveMedian', warmUpSteps: 1, everySteps: 1, minimumTrials: 2 },
    { strategy: 'asha', minimumSteps: 1, reductionFactor: 2 },
    { strategy: 'none' },
  ]),
  trials: random.int(2, 5),
  maxConcurrent: random.int(1, 3),
  seed: seed(random),
  release: release(random),
}));

const retrain = body('retrain', (random) => ({
  model: { name: IN_PRODUCTION },
  stormHours: random.chance(0.3) ? 1 : 0,
  data: { mode: random.pick(['full', 'incremental']) },
  training: training(random, IN_PRODUCTION, fewSteps(random)),
  comparison: {
    dataset: { name: 'held-out' },
    suites: [{ suite: 'held_out_text' }],
    metric: 'held_out.bits_per_byte',
  },
  release: release(random),
}));

const rlhf = body('rlhf', (random) => {
  const steps = { learningRate: 0.001, sequenceLength: 16, ...fewSteps(random) };
  const { maxSteps: rounds, ...ppo } = steps;
  const algorithm = random.chance(0.5)
    ? { algorithm: 'dpo', dpo: steps }
    : {
        algorithm: 'ppo',
        ppo: { ...ppo, rounds, batchSize: 4, numMiniBatches: 1, numPpoEpochs: 1, responseLength: 4 },
        rewardModel: { pooling: 'mean', hyperparameters: steps },
      };
  return {
    preferences: { name: 'pairs' },
    base: { model: `${BASE_MODEL}/1` },
    model: { name: released(random) },
    ...algorithm,
    technique: 'full',
    seed: seed(random),
    evaluationDataset: { name: 'held-out' },
    safety: {
      suites: [{ suite: 'toxicity' }],
      policy: [{ metric: 'toxicity.share', operator: '<', threshold: SAFE_BELOW }],
    },
    quality: {
      suites: [{ suite: 'preference_accuracy' }],
      policy: [{ metric: 'preference.accuracy', operator: '>', threshold: 0.5 }],
    },
    release: release(random),
  };
});

/** The bound of every safety gate of the simulation. */
export const SAFE_BELOW = 0.05;

const evalOnly = body('eval_only', (random) => ({
  subject: { model: random.pick([`${BASE_MODEL}/1`, `${IN_PRODUCTION}@prod`, `${IN_PRODUCTION}@latest`]) },
  compareWith: random.chance(0.5) ? [{ model: `${BASE_MODEL}/1` }] : [],
  dataset: { name: 'held-out' },
  ...HELD_OUT,
  seed: seed(random),
}));

export const JOB_BODIES: { readonly [T in JobType]: Body } = {
  fine_tune: fineTune,
  hpo,
  retrain,
  rlhf,
  eval_only: evalOnly,
};
