import { describe, expect, it } from 'vitest';
import type { RlhfInput } from '#lib/contracts/rlhf-job.ts';
import type { EvaluationMetric } from '#lib/contracts/trainer-protocol.ts';
import { FULL_RELEASE, rlhfInput } from '../../../../test/support/flows/flow-inputs.ts';
import { plausibleOutput } from '../../../../test/support/flows/flow-outputs.ts';
import { startOf } from '../../../../test/support/flows/story.ts';
import { decideGate } from '../gate.ts';
import { isOver } from '../activity-ledger.ts';
import type { Fact } from '../facts.ts';
import { machineRunner, type MachineState } from '../machine.ts';
import { retryPoint } from '../retry-point.ts';
import { type Effect, evolve, type WorkflowState } from '../workflow-state.ts';
import { workflowRegistry } from './registry.ts';
import { rlhf } from './rlhf.ts';
import type { WorkflowContext, WorkflowEvent } from './workflow-types.ts';

const STEPS = [
  'validate_preference_data',
  'preprocess_preferences',
  'train_reward_model',
  'run_alignment_training',
  'run_safety_evaluation',
  'run_quality_evaluation',
  'register_aligned_model',
  'find_champion',
];
/** States that a model comes to only past the safety gate. */
const PAST_THE_GATE = [
  'evaluating',
  'registering',
  'releasing',
  'approving',
  'approved',
  'staging',
  'canary',
  'decidingCanary',
  'promoting',
  'archiving',
  'completed',
  'kept',
  'rejected',
  'rolledBack',
];

type Evaluation = { readonly metrics: readonly EvaluationMetric[] };
const good = plausibleOutput('run_safety_evaluation', {}) as Evaluation;
const metricsWith = (name: string, change: Partial<EvaluationMetric> | null) => ({
  ...good,
  metrics: good.metrics.flatMap((metric) =>
    metric.name !== name ? [metric] : change === null ? [] : [{ ...metric, ...change }],
  ),
});
/** Safety evaluations that must stop everything. */
const BAD: Readonly<Record<string, object>> = {
  'no metric at all': { ...good, metrics: [] },
  'a suite that is missing': metricsWith('bias.mean_absolute_difference', null),
  'a metric beyond its threshold': metricsWith('toxicity.share', { value: 0.051 }),
  'a metric at a bound that must not be reached': metricsWith('bias.mean_absolute_difference', { value: 1 }),
  'a metric that is not a number': metricsWith('toxicity.share', { value: Number.NaN }),
  'a metric that became null on its way': metricsWith('toxicity.share', { value: null as never }),
  'metrics of other names': { ...good, metrics: [{ ...good.metrics[0], name: 'Toxicity.Share', value: 0 }] },
};

const inputs: readonly (readonly [string, RlhfInput])[] = [
  ['dpo without release', rlhfInput('dpo')],
  ['dpo with approval and canary', rlhfInput('dpo', FULL_RELEASE)],
  ['ppo that promotes at once', rlhfInput('ppo', { promote: true })],
];

const isSafe = (input: RlhfInput, { outputs }: WorkflowContext<RlhfInput>): boolean => {
  const evaluation = outputs.run_safety_evaluation;
  return evaluation !== undefined && decideGate(input.spec.safety.policy, evaluation.metrics).passed;
};

/** Everything a machine can be told, at any time, expected or not. */
function everyEvent(safety: readonly object[]): WorkflowEvent[] {
  const failure = { code: 'X', message: '', retryable: false, logTail: [] };
  const from = 'anybody';
  const end = { jobId: 'j', status: 'COMPLETED' as const, result: null, error: null, gpuSeconds: 0 };
  return [
    ...STEPS.flatMap((activity): WorkflowEvent[] => {
      const outputs =
        activity === 'run_safety_evaluation' ? safety : [plausibleOutput(activity, { name: 'demo-aligned' })];
      return outputs.map((output) => ({ type: 'activity.done', activity, output }));
    }),
    { type: 'activity.done', activity: 'run_quality_evaluation', output: { ...good, metrics: [] } },
    ...STEPS.map((activity): WorkflowEvent => ({ type: 'activity.failed', activity, failure })),
    ...(['approved', 'rejected', 'expired', 'voided'] as const).flatMap((outcome): WorkflowEvent[] =>
      ['release', 'canary'].map((approval) => ({ type: 'approval.decided', approval, outcome })),
    ),
    ...(['pass', 'fail', 'inconclusive'] as const).map(
      (outcome): WorkflowEvent => ({
        type: 'signal',
        signal: { signal: 'canary.verdict', data: { outcome, reports: [] }, from },
      }),
    ),
    { type: 'signal', signal: { signal: 'child.ended', data: { child: 'training', ...end }, from } },
    { type: 'signal', signal: { signal: 'child.resumed', data: { child: 'training' }, from } },
    { type: 'timer', name: 'canary' },
    { type: 'timer', name: 'any' },
    { type: 'cancel' },
    { type: 'timeout' },
  ];
}

interface Reached {
  readonly states: ReadonlyMap<string, readonly WorkflowContext<RlhfInput>[]>;
  readonly actions: readonly { readonly type: string; readonly name: string; readonly safe: boolean }[];
  readonly steps: number;
}

/** Every state of the machine with every memory it can have there, and every action on the way: from the start, all events at each. */
function explore(input: RlhfInput, safety: readonly object[]): Reached {
  const runner = machineRunner(rlhf);
  const events = everyEvent(safety);
  const first = runner.start(input);
  const seen = new Set([JSON.stringify(first.state)]);
  const open: MachineState[] = [first.state];
  const states = new Map<string, WorkflowContext<RlhfInput>[]>();
  const actions: { type: string; name: string; safe: boolean }[] = [];
  let steps = 0;
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    const context = state.context as WorkflowContext<RlhfInput>;
    states.set(state.value, [...(states.get(state.value) ?? []), context]);
    for (const event of events) {
      steps++;
      const step = runner.step(state, event);
      if (!step.moved) continue;
      const safe = isSafe(input, step.state.context as WorkflowContext<RlhfInput>);
      for (const { type, params } of step.actions)
        actions.push({ type, name: 'name' in params ? params.name : '', safe });
      const key = JSON.stringify(step.state);
      if (seen.has(key)) continue;
      seen.add(key);
      open.push(step.state);
    }
  }
  return { states, actions, steps };
}

const releases = ({ type, name }: { type: string; name: string }): boolean =>
  type === 'promote' || type === 'startCanary' || type === 'requestApproval' || name === 'register_aligned_model';

describe.each(inputs)('every path of rlhf@1, %s', (_, input) => {
  it.each(Object.entries(BAD))('with %s ends before anything is registered or released', (_what, bad) => {
    const { states, actions, steps } = explore(input, [bad]);
    expect(steps).toBeGreaterThan(200);
    expect([...states.keys()].filter((state) => PAST_THE_GATE.includes(state))).toEqual([]);
    expect(actions.filter(releases)).toEqual([]);
    expect([...states.keys()]).toContain('safetyFailed');
  });

  it('that comes past the gate has passed it, whatever else it was told', () => {
    const { states, actions } = explore(input, [good, ...Object.values(BAD)]);
    for (const state of PAST_THE_GATE)
      for (const context of states.get(state) ?? [])
        expect({ state, safe: isSafe(input, context) }).toEqual({ state, safe: true });
    expect(actions.filter(releases).filter(({ safe }) => !safe)).toEqual([]);
    // The search did come there.
    expect([...states.keys()]).toContain('registering');
    expect([...states.keys()]).toContain('safetyFailed');
    const complete = states.has('completed') || states.has('kept');
    expect(complete).toBe(true);
  });
});

/** The parts of a workflow that a later event can depend on; times and attempt numbers are left out, or no search would end. */
const outlineOf = (state: WorkflowState): string =>
  JSON.stringify({
    machine: state.machine,
    activities: Object.values(state.activities).map(({ request, state: of }) => [request.activityId, of]),
    timers: Object.keys(state.timers).sort(),
    paused: state.paused !== undefined,
    tickets: Object.values(state.approvals ?? {}).map(({ approval, status, votes }) => [
      approval,
      status,
      votes.length,
    ]),
    finish: state.finish?.status ?? null,
  });

/** Everything that admission would let into the log of a workflow in this state. */
function everyFact(state: WorkflowState, safety: readonly object[]): Fact[] {
  const requestedBy = 'key-1';
  if (state.finish !== null)
    return retryPoint(registry, state) === null ? [] : [{ type: 'RetryRequested', data: { requestedBy } }];
  const facts: Fact[] = [
    { type: 'CancelRequested', data: { requestedBy, reason: null } },
    { type: 'ExecutionTimedOut', data: {} },
    state.paused === undefined
      ? { type: 'PauseRequested', data: { requestedBy, reason: null } }
      : { type: 'ResumeRequested', data: { requestedBy } },
  ];
  for (const entry of Object.values(state.activities)) {
    if (isOver(entry)) continue;
    const { activityId, name, input } = entry.request;
    const attempt = { activityId, epoch: entry.epoch, workerId: 'w', startedAtMs: 0 };
    const outputs = name === 'run_safety_evaluation' ? safety : [plausibleOutput(name, input)];
    for (const output of outputs) facts.push({ type: 'ActivityCompleted', data: { ...attempt, output } });
    const failure = { code: 'X', message: '', retryable: false, logTail: [] };
    facts.push({ type: 'ActivityFailed', data: { ...attempt, ...failure } });
    facts.push({ type: 'ActivityYielded', data: { ...attempt, reason: 'Paused' } });
    if (entry.state === 'queued') facts.push({ type: 'ActivityStarted', data: { ...attempt, incarnation: 'i' } });
  }
  for (const { approval, status, votes } of Object.values(state.approvals ?? {})) {
    if (status !== 'open') continue;
    const by = `voter-${votes.length}`;
    for (const decision of ['approve', 'reject'] as const)
      facts.push({ type: 'ApprovalVoted', data: { approval, by, decision, comment: null } });
    facts.push({ type: 'ApprovalVoided', data: { approval, reason: 'x', requestedBy } });
  }
  for (const name of Object.keys(state.timers)) facts.push({ type: 'TimerFired', data: { name } });
  for (const outcome of ['pass', 'fail', 'inconclusive'] as const)
    facts.push({
      type: 'SignalReceived',
      data: { signal: 'canary.verdict', data: { outcome, reports: [] }, from: 'anybody' },
    });
  return facts;
}

const registry = workflowRegistry();

function exploreFold(
  input: RlhfInput,
  safety: readonly object[],
  each: (state: WorkflowState, effects: readonly Effect[]) => void,
) {
  const first = evolve(registry, 'wf', null, startOf('rlhf', input), 1_000).state;
  const seen = new Set([outlineOf(first)]);
  const open = [first];
  for (let state = open.pop(); state !== undefined; state = open.pop())
    for (const fact of everyFact(state, safety)) {
      const { state: next, effects } = evolve(registry, 'wf', state, fact, 2_000);
      each(next, effects);
      const outline = outlineOf(next);
      if (seen.has(outline)) continue;
      seen.add(outline);
      open.push(next);
    }
  return seen.size;
}

describe.each(inputs)('with pauses, retries, votes and timers, rlhf@1, %s', (_, input) => {
  const isRelease = (effect: Effect): boolean =>
    effect.type === 'promote' ||
    effect.type === 'startCanary' ||
    effect.type === 'approvalChanged' ||
    (effect.type === 'activityChanged' && effect.entry.request.name === 'register_aligned_model');

  it('releases nothing that is not safe', () => {
    let released = 0;
    const states = exploreFold(input, [good, BAD['a metric beyond its threshold'] ?? {}], (state, effects) => {
      const some = effects.filter(isRelease);
      if (some.length === 0) return;
      released++;
      expect(isSafe(input, state.machine.context as WorkflowContext<RlhfInput>)).toBe(true);
    });
    expect(states).toBeGreaterThan(40);
    expect(released).toBeGreaterThan(0);
  });

  it.each(Object.entries(BAD))('releases nothing with %s', (_what, bad) => {
    const ends = new Set<string>();
    exploreFold(input, [bad], (state, effects) => {
      expect(effects.filter(isRelease)).toEqual([]);
      if (state.finish !== null) ends.add(state.finish.status);
    });
    expect([...ends].sort()).toEqual(['CANCELLED', 'FAILED', 'SAFETY_FAILED', 'TIMED_OUT']);
  });
});
