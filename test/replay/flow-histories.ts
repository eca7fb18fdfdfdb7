import { evalOnlyInput, FULL_RELEASE, hpoInput, retrainInput, rlhfInput } from '../support/flows/flow-inputs.ts';
import { CHALLENGER, trialResult } from '../support/flows/flow-outputs.ts';
import { registered, type Releasing, RELEASING, RLHF_STEPS, searched } from '../support/flows/flow-stories.ts';
import { startOf, Story } from '../support/flows/story.ts';
import type { FactAt } from '../support/given-when-then.ts';
import { fineTuneInput } from './fine-tune-facts.ts';

const { approval, canary } = FULL_RELEASE;

/** A story told to its end. */
const told = (story: Story, ...then: readonly ((story: Story) => unknown)[]): readonly FactAt[] => {
  for (const tell of then) tell(story);
  return story.facts;
};

/** Each end of a release, for a flow that has one. */
function releases(flow: Releasing): [string, readonly FactAt[]][] {
  const at = (what: string) => `${flow}@1-${what}`;
  const both = registered(flow, FULL_RELEASE);
  const agree = (story: Story): void => {
    story.vote('release', 'ann');
    story.vote('release', 'bob');
  };
  return [
    [at('kept'), told(registered(flow, undefined, false))],
    [at('promoted'), told(registered(flow, { promote: true }, false))],
    [
      at('rejected'),
      told(registered(flow, { promote: true, ...(approval && { approval }) }), (s) =>
        s.vote('release', 'ann', 'reject'),
      ),
    ],
    [at('voided'), told(registered(flow, FULL_RELEASE), (s) => s.voidTicket('release'))],
    [
      at('approved-inconclusive-approved'),
      told(
        both,
        (s) => s.fire('approval:release:remind'),
        agree,
        (s) => s.fire('canary'),
        (s) => s.vote('canary', 'ann'),
        (s) => s.vote('canary', 'cid'),
      ),
    ],
    [at('rolled-back'), told(registered(flow, { promote: true, ...(canary && { canary }) }), (s) => s.verdict('fail'))],
  ];
}

const started = {
  hpo: () => new Story(startOf('hpo', hpoInput({ trials: 3, maxConcurrent: 2 }))),
  retrain: () => new Story(startOf('retrain', retrainInput())),
  rlhf: () => new Story(startOf('rlhf', rlhfInput('ppo'))),
  eval_only: () => new Story(startOf('eval_only', evalOnlyInput())),
} as const;

const FIRST = {
  hpo: 'generate_trial_configs-1',
  retrain: 'assemble_training_data',
  rlhf: 'validate_preference_data',
  eval_only: 'evaluate_models',
} as const;

/** The ends that every workflow has, after its first step where there is another one. */
const common = (['hpo', 'retrain', 'rlhf', 'eval_only'] as const).flatMap((flow): [string, readonly FactAt[]][] => [
  [`${flow}@1-failed`, told(started[flow](), (s) => s.fail(FIRST[flow]))],
  [
    `${flow}@1-cancelled`,
    told(
      started[flow](),
      (s) => s.answer(FIRST[flow]),
      (s) => s.cancel(),
    ),
  ],
  [
    `${flow}@1-timed-out`,
    told(
      started[flow](),
      (s) => s.answer(FIRST[flow]),
      (s) => s.timeOut(),
    ),
  ],
]);

/** A search with everything in it: a pruned trial that is revived, a pause, a child that failed and was tried again, a curve with a hole. */
function eventfulSearch(): Story {
  const story = new Story(
    startOf('hpo', {
      ...hpoInput({
        trials: 6,
        maxConcurrent: 4,
        pruning: { strategy: 'liveMedian', warmUpSteps: 20, everySteps: 20, minimumTrials: 2 },
      }),
    }),
  );
  story.answer('generate_trial_configs-1');
  for (const n of [0, 1, 2, 3]) story.reported(`trial-${n}`, [10, 3 + n], [20, 2 + n]);
  story.childPaused('trial-2', 20, 4);
  story.answer('generate_trial_configs-2');
  story.pause();
  story.childPaused('trial-0', 20, 4);
  story.resume();
  story.childResumed('trial-0');
  story.reported('trial-4', [20, null]);
  story.childEnded('trial-1', 'FAILED', null, { code: 'TrainerFailed' });
  story.childResumed('trial-1');
  story.childResumed('trial-2');
  for (const [n, value] of [1.5, 1.2, 1.9, null].entries())
    story.childEnded(`trial-${n}`, 'COMPLETED', trialResult(value));
  return story;
}

/** A trial: paused at a checkpoint, revived, failed, tried again. */
function trial(): Story {
  const parent = { workflowId: 'wf-parent', childId: 'trial-0', reports: 'validation.loss' };
  const story = new Story(startOf('fine_tune', { ...fineTuneInput(), purpose: 'trial' }, { parent }));
  for (const activity of ['validate_dataset', 'preprocess_data', 'prepare_workspace']) story.answer(activity);
  story.begin('run_training');
  story.checkpoint('run_training', 50);
  story.pause('Pruned');
  story.yieldUp('run_training');
  story.resume();
  story.begin('run_training');
  story.fail('run_training');
  story.retry();
  story.answer('run_training');
  story.answer('upload_artifacts');
  return story;
}

const metrics: readonly object[] = [];

/** Logs of the flows besides `fine_tune@1`, one for each way they can go. Times are fixed. */
export const FLOW_HISTORIES: Readonly<Record<string, readonly FactAt[]>> = {
  ...Object.fromEntries([...RELEASING.flatMap(releases), ...common]),
  'fine_tune@1-trial': told(trial()),
  'hpo@1-eventful': told(eventfulSearch()),
  'hpo@1-eval-failed': told(
    searched(),
    (s) => s.answer('select_best_trial'),
    (s) => s.answer('evaluate_best', { metrics }),
  ),
  'hpo@1-grid-exhausted': told(exhausted()),
  'retrain@1-skipped': told(new Story(startOf('retrain', retrainInput({ lastRetrainAtMs: 998_000 })))),
  'retrain@1-eval-failed': told(
    started.retrain(),
    (s) => s.answer(FIRST.retrain),
    (s) => s.childEnded('training', 'EVAL_FAILED'),
  ),
  'retrain@1-training-failed': told(
    started.retrain(),
    (s) => s.answer(FIRST.retrain),
    (s) => s.childEnded('training', 'CANCELLED'),
  ),
  'retrain@1-not-better': told(
    started.retrain(),
    (s) => s.answer(FIRST.retrain),
    (s) => s.childEnded('training', 'COMPLETED', CHALLENGER),
    (s) => s.answer('compare_with_champion', { metrics }),
    (s) => s.answer('attach_report'),
  ),
  'retrain@1-outdated': told(
    started.retrain(),
    (s) => {
      // Another version came into production meanwhile.
      s.champion = 4;
      s.answer(FIRST.retrain);
    },
    (s) => s.childEnded('training', 'COMPLETED', CHALLENGER),
    (s) => s.answer('compare_with_champion'),
    (s) => s.answer('attach_report'),
  ),
  'rlhf@1-safety-failed': told(
    new Story(startOf('rlhf', rlhfInput())),
    ...RLHF_STEPS.slice(0, 3).map((activity) => (s: Story) => s.answer(activity)),
    (s) => s.answer('run_safety_evaluation', { metrics }),
  ),
  'rlhf@1-eval-failed': told(
    started.rlhf(),
    ...[...RLHF_STEPS.slice(0, 2), 'train_reward_model', ...RLHF_STEPS.slice(2, 4)].map(
      (activity) => (s: Story) => s.answer(activity),
    ),
    (s) => s.answer('run_quality_evaluation', { metrics }),
  ),
  'eval_only@1-retried': told(
    started.eval_only(),
    (s) => s.fail('evaluate_models'),
    (s) => s.retry(),
    (s) => s.answer('evaluate_models'),
    (s) => s.answer('attach_report'),
  ),
  'eval_only@1-eval-failed': told(
    started.eval_only(),
    (s) => s.answer('evaluate_models', { metrics }),
    (s) => s.answer('attach_report'),
  ),
};

function exhausted(): Story {
  const space = { parameters: [{ name: 'batchSize', type: 'int' as const, min: 1, max: 2 }] };
  const story = new Story(startOf('hpo', hpoInput({ space, sampler: { type: 'grid' }, trials: 6, maxConcurrent: 1 })));
  for (const n of [0, 1]) {
    story.answer(`generate_trial_configs-${n + 1}`);
    story.childEnded(`trial-${n}`, 'FAILED');
  }
  story.answer('generate_trial_configs-3');
  return story;
}
