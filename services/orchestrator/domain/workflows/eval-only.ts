import type { EvalOnlyInput } from '#lib/contracts/eval-only-job.ts';
import { decideGate } from '../gate.ts';
import { outputOf, workflow } from './vocabulary.ts';
import type { WorkflowContext } from './workflow-types.ts';

type Context = WorkflowContext<EvalOnlyInput>;

const isRegistered = ({ input }: Context): boolean => input.subject.model !== undefined;
const policyPassed = (context: Context): boolean => gate(context).passed;

/** Evaluation of a version, an alias or stored artifacts, alone or against others on the same items. Ends: COMPLETED, EVAL_FAILED. */
export const evalOnly = workflow<EvalOnlyInput>('eval_only@1', ({ runs, chooses, ends }) => ({
  initial: 'evaluating',
  states: {
    evaluating: runs('evaluate_models', {
      lane: 'gpu',
      startToClose: '4h',
      input: evaluating,
      onDone: [{ when: isRegistered, to: 'attaching' }, { to: 'deciding' }],
    }),
    attaching: runs('attach_report', { lane: 'cpu', startToClose: '30m', input: attaching, onDone: 'deciding' }),
    deciding: chooses({ when: policyPassed, to: 'completed' }, { to: 'evalFailed' }),
    completed: ends('COMPLETED', result),
    evalFailed: ends('EVAL_FAILED', result),
  },
}));

function evaluating({ input }: Context) {
  const { jobId, spec, subject, compareWith, dataset, preferences } = input;
  const { suites, samples, seed } = spec;
  const common = { jobId, subject, compareWith, dataset, suites, samples, seed };
  return preferences === undefined ? common : { ...common, preferences };
}

function attaching(context: Context) {
  const { jobId, subject } = context.input;
  const { report, markdown } = outputOf(context, 'evaluate_models');
  return { jobId, model: subject.model ?? { name: '', version: 0 }, report, markdown };
}

const gate = (context: Context) => decideGate(context.input.spec.policy, outputOf(context, 'evaluate_models').metrics);

function result(context: Context) {
  const { report, markdown, metrics, comparisons, samples } = outputOf(context, 'evaluate_models');
  return {
    subject: context.input.subject.label,
    evaluation: { metrics, gate: gate(context), report, markdown },
    comparisons,
    samples,
  };
}
