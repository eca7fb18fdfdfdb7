import { digestOf } from '#lib/contracts/digest.ts';
import type { HpoInput } from '#lib/contracts/hpo-job.ts';
import type { ActivityOutput } from '#lib/contracts/activities.ts';
import { duration } from '#lib/kernel/duration.ts';
import type { Configuration } from '#lib/search-space/configuration.ts';
import type { PruningEvent, PruningPolicy } from '../pruning/pruning-event.ts';
import { evolvePruning, startPruning } from '../pruning/pruning.ts';
import type { WorkflowSignal } from '../signals.ts';
import type { Coordination, Coordinator, WorkflowAction, WorkflowContext } from '../workflows/workflow-types.ts';
import { trialSpec } from '#lib/contracts/trial-spec.ts';
import { childOfTrial, historyOf, type SweepState, type SweepTrial, trialOfChild } from './sweep-state.ts';

type Context = WorkflowContext<HpoInput>;
type Step = Coordination<SweepState>;

const GENERATE = 'generate_trial_configs';

/** Configurations of one call at most: its answer is one message. */
const MOST_AT_ONCE = 100;

/**
 * The controller of a search: asks for configurations when slots are free, starts each as a child, prunes by what running ones report, and is through when
 * every trial is over or pruned and at rest. A function of the log: started anew at any point it goes on to the same trials and the same pruned set.
 */
export const sweep: Coordinator<HpoInput, SweepState> = {
  start({ input }) {
    const state: SweepState = {
      trials: [],
      calls: 0,
      asking: false,
      exhausted: false,
      pruning: startPruning(policyOf(input)),
      prunings: [],
    };
    return goOn(input, state, []);
  },
  handle(context, state, event) {
    const { input } = context;
    if (event.type === 'activity.failed' && event.activity.startsWith(GENERATE))
      return { state, actions: [], end: event.failure };
    if (event.type === 'activity.done' && event.activity === `${GENERATE}-${state.calls}`)
      return startTrials(context, state, event.output as ActivityOutput<typeof GENERATE>);
    if (event.type !== 'signal') return { state, actions: [] };
    const { state: next, actions } = hear(input, state, event.signal);
    return goOn(input, next, actions);
  },
};

const policyOf = ({ spec }: HpoInput): PruningPolicy => ({
  settings: spec.pruning,
  direction: spec.objective.direction,
});

/** Asks for the next configurations if there is room, and ends when nothing is left to wait for. */
function goOn({ spec }: HpoInput, state: SweepState, actions: readonly WorkflowAction[]): Step {
  const busy = state.trials.filter(takesASlot).length;
  const firstTrial = state.trials.length;
  const count = Math.min(spec.maxConcurrent - busy, spec.trials - firstTrial, MOST_AT_ONCE);
  if (!state.asking && !state.exhausted && count > 0) {
    const calls = state.calls + 1;
    const { space, sampler, objective, seed } = spec;
    const input = {
      space,
      sampler,
      direction: objective.direction,
      seed,
      history: historyOf(state),
      firstTrial,
      count,
    };
    const ask: WorkflowAction = {
      type: 'startActivity',
      params: {
        activityId: `${GENERATE}-${calls}`,
        name: GENERATE,
        lane: 'cpu',
        input,
        startToCloseMs: duration('30m'),
      },
    };
    return { state: { ...state, calls, asking: true }, actions: [...actions, ask] };
  }
  if (state.asking || busy > 0) return { state, actions };
  if (!state.exhausted && firstTrial < spec.trials) return { state, actions };
  return { state, actions, end: state.trials.some(({ value }) => value !== null) ? null : noValue(spec, state) };
}

/** A trial that was paused by people keeps its slot: it is theirs to resume or cancel. */
const takesASlot = ({ standing, atRest }: SweepTrial): boolean =>
  standing === 'running' || (standing === 'pruned' && !atRest);

function noValue({ objective: { metric } }: HpoInput['spec'], { trials }: SweepState) {
  const reasons = [...new Set(trials.map(({ reason }) => reason ?? 'pruned'))].slice(0, 5).join('; ');
  const never = trials.every(({ lastReport }) => lastReport === null);
  return {
    code: never && trials.some(({ standing }) => standing === 'completed') ? 'MetricNeverReported' : 'NoTrialCompleted',
    message: `none of ${trials.length} trials ended with a value of ${metric}: ${reasons}`,
    retryable: false,
    logTail: [],
  };
}

function startTrials(context: Context, state: SweepState, output: ActivityOutput<typeof GENERATE>): Step {
  const first = state.trials.length;
  const { input } = context;
  const made = output.configurations.map((configuration, n) => newTrial(input, first + n, configuration));
  const next = {
    ...state,
    asking: false,
    exhausted: output.exhausted !== null,
    trials: [...state.trials, ...made.map(({ trial }) => trial)],
  };
  return goOn(
    input,
    next,
    made.map(({ action }) => action),
  );
}

function newTrial(input: HpoInput, number: number, configuration: Configuration) {
  const spec = trialSpec(input.spec.trial, configuration);
  const trial: SweepTrial = {
    number,
    configuration,
    standing: 'running',
    atRest: false,
    value: null,
    lastReport: null,
    plannedSteps: spec.hyperparameters.maxSteps,
    steps: 0,
    gpuSeconds: 0,
    jobId: `${input.jobId}-${childOfTrial(number)}`,
    reason: null,
  };
  const action: WorkflowAction = {
    type: 'startChild',
    params: {
      childId: childOfTrial(number),
      jobType: 'fine_tune',
      input: { ...input.trial, spec, configDigest: digestOf(spec), purpose: 'trial' } as { spec: unknown },
      reports: input.spec.objective.metric,
    },
  };
  return { trial, action };
}

/** What a child says. */
function hear(input: HpoInput, state: SweepState, signal: WorkflowSignal): Step {
  if (signal.signal === 'canary.verdict') return { state, actions: [] };
  const number = trialOfChild(signal.data.child);
  const trial = number === null ? undefined : state.trials[number];
  if (trial === undefined) return { state, actions: [] };
  switch (signal.signal) {
    case 'child.reported': {
      const { points } = signal.data;
      const isThrough = points.some(({ step }) => step >= trial.plannedSteps);
      return points.reduce<Step>((step, point) => reported(input, step, { number: trial.number, isThrough }, point), {
        state,
        actions: [],
      });
    }
    case 'child.paused': {
      const { step, gpuSeconds } = signal.data;
      return only(withTrial(state, { ...trial, atRest: true, steps: Math.max(trial.steps, step), gpuSeconds }));
    }
    case 'child.resumed': {
      const event: PruningEvent = { type: 'revived', trial: trial.number };
      const back = withTrial(state, { ...trial, standing: 'running', atRest: false, reason: null });
      return only(trial.standing === 'pruned' ? pruning(input, back, event).state : back);
    }
    case 'child.ended':
      return only(ended(input, state, trial, signal.data));
  }
}

const only = (state: SweepState): Step => ({ state, actions: [] });

function withTrial(state: SweepState, trial: SweepTrial): SweepState {
  return { ...state, trials: state.trials.with(trial.number, trial) };
}

function pruning(input: HpoInput, state: SweepState, event: PruningEvent) {
  const { state: next, decisions } = evolvePruning(policyOf(input), state.pruning, event);
  return { state: { ...state, pruning: next }, decisions };
}

function reported(
  input: HpoInput,
  { state, actions }: Step,
  { number, isThrough }: { readonly number: number; readonly isThrough: boolean },
  point: { readonly step: number; readonly value: number | null },
): Step {
  const trial = state.trials[number];
  if (trial === undefined) return { state, actions };
  const { step, value } = point;
  // Its last step came in the same message: stopping it would save nothing and lose a result.
  const plannedSteps = isThrough ? 0 : trial.plannedSteps;
  const seen = trial.lastReport === null || step > trial.lastReport.step;
  const known = seen ? withTrial(state, { ...trial, lastReport: point, steps: Math.max(trial.steps, step) }) : state;
  const judged = pruning(input, known, { type: 'report', trial: number, step, value: value ?? 'NaN', plannedSteps });
  const dropped = judged.decisions.filter(({ prune }) => prune);
  if (dropped.length === 0) return { state: judged.state, actions };
  const stop: WorkflowAction = {
    type: 'signalChild',
    params: { childId: childOfTrial(number), signal: 'pause', reason: 'Pruned' },
  };
  const pruned = withTrial(judged.state, { ...(judged.state.trials[number] ?? trial), standing: 'pruned' });
  return { state: { ...pruned, prunings: [...pruned.prunings, ...dropped] }, actions: [...actions, stop] };
}

function ended(
  input: HpoInput,
  state: SweepState,
  trial: SweepTrial,
  end: { readonly status: string; readonly result: unknown; readonly error: unknown; readonly gpuSeconds: number },
): SweepState {
  const { metric } = input.spec.objective;
  const answer = end.result as { training?: Readonly<Record<string, number>>; steps?: number } | null;
  const measured = answer?.training?.[metric] ?? trial.lastReport?.value ?? null;
  const value = end.status === 'COMPLETED' && measured !== null && Number.isFinite(measured) ? measured : null;
  const standing = end.status === 'COMPLETED' ? 'completed' : end.status === 'CANCELLED' ? 'cancelled' : 'failed';
  // At rest it was cancelled by a person or ran into its time limit: it was pruned, and saved what it saved.
  if (trial.standing === 'pruned' && standing !== 'completed')
    return withTrial(state, { ...trial, atRest: true, gpuSeconds: end.gpuSeconds });
  const reason = value !== null ? null : standing === 'completed' ? `${metric} was never reported` : reasonOf(end);
  const over: SweepTrial = {
    ...trial,
    standing,
    atRest: true,
    value,
    steps: answer?.steps ?? trial.steps,
    gpuSeconds: end.gpuSeconds,
    reason,
  };
  return pruning(input, withTrial(state, over), { type: 'ended', trial: trial.number, outcome: standing }).state;
}

function reasonOf({ status, error }: { readonly status: string; readonly error: unknown }): string {
  const code = (error as { code?: string } | null)?.code;
  return code === undefined ? status : `${status}: ${code}`;
}
