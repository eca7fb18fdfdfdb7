import type { HpoInput } from '#lib/contracts/hpo-job.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { decideGate } from '../gate.ts';
import { searchSavings } from '../pruning/savings.ts';
import { trialSpec } from '#lib/contracts/trial-spec.ts';
import { childOfTrial, historyOf, type SweepState, usageOf } from '../search/sweep-state.ts';
import { sweep } from '../search/sweep.ts';
import type { TrialResult } from './fine-tune.ts';
import { release } from './release.ts';
import { outputOf, workflow } from './vocabulary.ts';
import type { WorkflowContext } from './workflow-types.ts';

type Context = WorkflowContext<HpoInput>;

const policyPassed = (context: Context): boolean => gate(context).passed;

/**
 * Hyper-parameter search: trials as children, pruned while they run; the best one is evaluated, registered and released. Ends: COMPLETED, EVAL_FAILED,
 * and those of a release.
 */
export const hpo = workflow<HpoInput>('hpo@1', (words) => {
  const { runs, coordinates, ends } = words;
  return {
    initial: 'searching',
    states: {
      searching: coordinates(sweep, { onDone: 'selecting' }),
      selecting: runs('select_best_trial', {
        lane: 'cpu',
        startToClose: '30m',
        input: selecting,
        onDone: 'evaluatingBest',
      }),
      evaluatingBest: runs('evaluate_best', {
        lane: 'gpu',
        startToClose: '4h',
        input: evaluating,
        onDone: [{ when: policyPassed, to: 'registering' }, { to: 'evalFailed' }],
      }),
      registering: runs('register_model', {
        lane: 'cpu',
        startToClose: '30m',
        input: registering,
        onDone: 'releasing',
      }),
      ...release(words, {
        settings: ({ input }) => input.spec.release,
        candidate,
        result: (context) => ({ ...summary(context), model: outputOf(context, 'register_model') }),
      }),
      evalFailed: ends('EVAL_FAILED', (context) => ({ ...summary(context), model: null })),
    },
  };
});

function searched(context: Context): SweepState {
  const state = context.coordination?.['searching']?.state as SweepState | undefined;
  invariant(state !== undefined, 'the search is over');
  return state;
}

function selecting(context: Context) {
  const { space, objective } = context.input.spec;
  return { space, direction: objective.direction, history: historyOf(searched(context)) };
}

/** The best trial with the answer of its child. */
function best(context: Context) {
  const { best } = outputOf(context, 'select_best_trial');
  invariant(best !== null, 'a search without a value has failed before');
  const trial = searched(context).trials[best.number];
  invariant(trial !== undefined, 'the best trial is one of the search');
  const stored = context.children?.[childOfTrial(best.number)]?.result as TrialResult | undefined;
  invariant(stored !== undefined, 'the best trial has ended');
  return { trial, stored, spec: trialSpec(context.input.spec.trial, trial.configuration) };
}

function evaluating(context: Context) {
  const { trial, stored, spec } = best(context);
  return {
    jobId: trial.jobId,
    workspace: stored.workspace,
    data: stored.data,
    artifacts: stored.artifacts,
    technique: spec.method,
    base: context.input.trial.base,
    suites: spec.evaluation.suites,
    samples: spec.evaluation.samples,
    seed: spec.seed,
  };
}

/** Registered under the trial's job: that is where it was trained. */
function registering(context: Context) {
  const { project, trial: of, configDigest, codeCommit } = context.input;
  const { trial, stored, spec } = best(context);
  return {
    jobId: trial.jobId,
    project,
    name: spec.model.name,
    runId: stored.runId,
    technique: spec.method,
    artifacts: stored.artifacts,
    dataset: of.dataset,
    base: of.base,
    configDigest,
    codeCommit,
    report: outputOf(context, 'evaluate_best').report,
    vocabularySize: stored.vocabularySize,
  };
}

const gate = (context: Context) =>
  decideGate(context.input.spec.trial.evaluation.policy, outputOf(context, 'evaluate_best').metrics);

function candidate(context: Context) {
  const { name, version } = outputOf(context, 'register_model');
  const { artifacts } = best(context).stored;
  return {
    name,
    version,
    artifacts: artifacts.digest,
    reports: { evaluation: outputOf(context, 'evaluate_best').report.digest },
  };
}

/** The sweep's answer: what each trial did, what stopped it and by which evidence, what pruning saved, what mattered. */
function summary(context: Context) {
  const state = searched(context);
  const { importance, parallelCoordinates } = outputOf(context, 'select_best_trial');
  const { report, metrics, samples } = outputOf(context, 'evaluate_best');
  const { trial, stored } = best(context);
  return {
    best: { number: trial.number, configuration: trial.configuration, value: trial.value, jobId: trial.jobId },
    trials: state.trials,
    prunings: state.prunings,
    savings: searchSavings(usageOf(state)),
    importance,
    parallelCoordinates,
    evaluation: { metrics, gate: gate(context), report },
    samples,
    artifacts: stored.artifacts,
  };
}
