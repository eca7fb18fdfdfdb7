import { type AnyStateMachine, initialTransition, transition } from 'xstate';
import { describe, expect, it } from 'vitest';
import { JOB_STATUS } from '#lib/contracts/jobs.ts';
import { evalOnly } from '../../services/orchestrator/domain/workflows/eval-only.ts';
import { fineTune } from '../../services/orchestrator/domain/workflows/fine-tune.ts';
import { hpo } from '../../services/orchestrator/domain/workflows/hpo.ts';
import { PROFILES, workflowRegistry } from '../../services/orchestrator/domain/workflows/registry.ts';
import { retrain } from '../../services/orchestrator/domain/workflows/retrain.ts';
import { rlhf } from '../../services/orchestrator/domain/workflows/rlhf.ts';
import { edgesOf, everyPath, PASSES, reachableBy } from './machine-paths.ts';

/** Every machine version; a new one is added here with its release. */
const machines: readonly AnyStateMachine[] = [fineTune, hpo, retrain, rlhf, evalOnly];

it('every machine that a job type starts on is looked at and can be run', () => {
  const current = Object.values(PROFILES).flatMap((profile) => profile.current ?? []);
  expect(current.length).toBeGreaterThan(0);
  expect(current.filter((definition) => !machines.some(({ id }) => id === definition))).toEqual([]);
  expect(current.filter((definition) => workflowRegistry().machine(definition) === null)).toEqual([]);
});

describe.each(machines.map((machine) => [machine.id, machine] as const))('%s', (_, machine) => {
  const edges = edgesOf(machine);
  const states = Object.keys(machine.states);
  const ends = states.filter((name) => machine.states[name]?.type === 'final');
  const initial = String(initialValue(machine));

  it('names only states that exist', () => {
    expect(edges.length).toBeGreaterThan(states.length);
    expect(edges.filter(({ to }) => !states.includes(to))).toEqual([]);
  });

  it('can reach every state, and from every state an end', () => {
    const reached = reachableFrom(initial);
    expect(states.filter((name) => !reached.has(name))).toEqual([]);
    expect(
      states.filter((name) => !ends.includes(name) && ![...reachableFrom(name)].some((end) => ends.includes(end))),
    ).toEqual([]);
  });

  it('can be cancelled and timed out in every state that it can rest in', () => {
    const targets = (state: string, event: string): string =>
      edges.flatMap((edge) => (edge.from === state && edge.event === event ? [edge.to] : [])).join(' ');
    const wrong = states.filter(
      (state) =>
        !ends.includes(state) &&
        !isPassed(state) &&
        (targets(state, 'cancel') !== 'cancelled' || targets(state, 'timeout') !== 'timedOut'),
    );
    expect(wrong).toEqual([]);
  });

  /** Nothing can come in between: it is left in the step that enters it. */
  function isPassed(state: string): boolean {
    return edges.some((edge) => edge.from === state && edge.event === PASSES && !edge.guarded);
  }

  it('stays in an end for good', () => {
    expect(edges.filter(({ from }) => ends.includes(from))).toEqual([]);
  });

  function reachableFrom(start: string): Set<string> {
    const reached = new Set([start]);
    for (const state of reached) for (const edge of edges) if (edge.from === state) reached.add(edge.to);
    return reached;
  }
});

describe('the evaluation gate of fine_tune', () => {
  const machine: AnyStateMachine = fineTune;
  const input = {
    jobId: 'j1',
    project: 'p1',
    dataset: { name: 'd', version: 1 },
    base: { kind: 'config', config: {} },
    spec: {
      method: 'full',
      hyperparameters: {},
      seed: 1,
      model: { name: 'm' },
      evaluation: { suites: [], samples: 0, policy: [{ metric: 'bits_per_byte', operator: '<', threshold: 2 }] },
    },
    configDigest: 'c',
    codeCommit: 'c',
  };
  const stored = { manifestKey: 'k', digest: 'd' };
  const outputs = (metrics: readonly object[]): Record<string, object> => ({
    validate_dataset: {},
    preprocess_data: { data: stored, vocabularySize: 300 },
    prepare_workspace: { workspace: 'w' },
    run_training: { outputFolder: 'o', metrics: {} },
    upload_artifacts: { artifacts: stored, runId: 'r' },
    run_evaluation: { report: { key: 'k', digest: 'd' }, metrics, samples: [] },
    register_model: { name: 'm', version: 1, stage: 'dev', lineage: {} },
  });
  /** Everything that can happen to the workflow, in any order, when its evaluation measures this. */
  const happenings = (metrics: readonly object[]): object[] => [
    ...Object.entries(outputs(metrics)).map(([activity, output]) => ({ type: 'activity.done', activity, output })),
    ...Object.keys(outputs([])).map((activity) => ({
      type: 'activity.failed',
      activity,
      failure: { code: 'X', message: '', retryable: false, logTail: [] },
    })),
    { type: 'timer', name: 'any' },
    { type: 'cancel' },
    { type: 'timeout' },
  ];

  it('lies on every declared path to the registration', () => {
    const paths = everyPath(edgesOf(machine), String(initialValue(machine)), 'registering');
    expect(paths.length).toBeGreaterThan(0);
    expect(paths.filter((path) => path.at(-2) !== 'evaluating')).toEqual([]);
    const into = edgesOf(machine).filter(({ to }) => to === 'registering');
    expect(into.map(({ from, event, guarded }) => ({ from, event, guarded }))).toEqual([
      { from: 'evaluating', event: 'activity.done', guarded: true },
    ]);
  });

  it.each([
    ['a metric beyond its threshold', [{ name: 'bits_per_byte', value: 2 }]],
    ['a metric that is not a number', [{ name: 'bits_per_byte', value: Number.NaN }]],
    ['a metric that was not measured', [{ name: 'perplexity', value: 1 }]],
    ['no metric at all', []],
  ])('lets nothing be registered with %s, whatever else happens in whatever order', (_, metrics) => {
    const { states, statuses } = reachableBy(machine, input, happenings(metrics));
    expect(states.size).toBeGreaterThan(8);
    expect(states).not.toContain('registering');
    expect(statuses).not.toContain(JOB_STATUS.completed);
    expect(statuses).toContain(JOB_STATUS.evalFailed);
  });

  it('lets a model that meets its policy be registered', () => {
    const { states, statuses } = reachableBy(machine, input, happenings([{ name: 'bits_per_byte', value: 1.7 }]));
    expect(states).toContain('registering');
    expect(statuses).toContain(JOB_STATUS.completed);
    expect(statuses).not.toContain(JOB_STATUS.evalFailed);
  });

  it('is not passed by an answer of another activity', () => {
    const [start] = initialTransition(machine, input);
    const [next] = transition(machine, start, { type: 'activity.done', activity: 'run_evaluation', output: {} });
    expect(next.value).toBe(start.value);
  });
});

function initialValue(machine: AnyStateMachine): unknown {
  return machine.config.initial;
}
