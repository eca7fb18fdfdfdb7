import { Value } from '#typebox/value';
import type { HpoSpec } from '#lib/contracts/hpo-job.ts';
import type { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { trialSpec, tunableSchema } from '#lib/contracts/trial-spec.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { checkSearchSpace } from '#lib/search-space/check-search-space.ts';
import { acceptedValues, type Configuration, constraintsHold } from '#lib/search-space/configuration.ts';
import { valueAt } from '#lib/search-space/parameter-values.ts';
import type { Choice, Parameter, SearchSpace } from '#lib/search-space/search-space.ts';
import { explain } from './field-errors.ts';
import { at } from './findings.ts';
import { checkFineTune, type FineTuneFindings } from './fine-tune-rules.ts';

/** Curves that a fine-tuning reports while it runs. */
const CURVES = ['validation.loss', 'train.loss'] as const;
/** Reported every `evaluateEverySteps`; with 0 only at the end, when there is nothing to stop any more. */
const EVALUATED = 'validation.loss';

/**
 * What no schema can say about a search, given what the references of its trial are: the space makes sense, its names and values are those of a
 * fine-tuning, the metric is one that a trial reports, and a trial can run at every edge of the space.
 */
export function checkSearch(spec: HpoSpec, findings: FineTuneFindings): FieldError[] {
  const ofTrial = checkFineTune(spec.trial, findings, TRIAL);
  const ofSpace = [
    ...checkSearchSpace(spec.space, spec.sampler.type).map(({ pointer, message }) => at(`${SPACE}${pointer}`, message)),
    ...spec.space.parameters.flatMap((parameter, i) => checkTunable(parameter, `${SPACE}/parameters/${i}`)),
  ];
  const rest = [...ofTrial, ...ofSpace, ...checkObjective(spec)];
  // The edges are only looked at when each part makes sense.
  return ofSpace.length > 0
    ? rest
    : [...rest, ...checkAdapterParameters(spec), ...checkEdges(spec, findings, new Set(ofTrial.map(keyOf)))];
}

const SPACE = '/spec/space';
const TRIAL = '/spec/trial';

/** A value at the edge of a parameter, and where it stands. */
interface Edge {
  readonly value: Choice;
  readonly pointer: string;
}

function edgesOf(parameter: Parameter, pointer: string): Edge[] {
  if (parameter.type === 'categorical')
    return parameter.choices.map((value, c) => ({ value, pointer: `${pointer}/choices/${c}` }));
  return [
    { value: parameter.min, pointer: `${pointer}/min` },
    { value: parameter.max, pointer: `${pointer}/max` },
  ];
}

/** The name is one of a fine-tuning's, and every value is one that its schema takes. */
function checkTunable(parameter: Parameter, pointer: string): FieldError[] {
  const schema = tunableSchema(parameter.name);
  if (schema === null)
    return [
      at(
        `${pointer}/name`,
        'is nothing that can be tuned: use a member of hyperparameters (learningRate), of lora (lora.r), method or seed',
      ),
    ];
  const whole = (schema as { type?: string }).type === 'integer';
  if (whole && parameter.type === 'float')
    return [at(`${pointer}/type`, `must be int: ${parameter.name} is a whole number`)];
  return edgesOf(parameter, pointer).flatMap((edge) =>
    Value.Check(schema, edge.value)
      ? []
      : explain(schema, edge.value, edge.pointer).map((error) =>
          at(error.pointer, `${parameter.name} ${error.message}`),
        ),
  );
}

function checkObjective({ objective, pruning, trial, space }: HpoSpec): FieldError[] {
  const { metric } = objective;
  if (!(CURVES as readonly string[]).includes(metric))
    return [at('/spec/objective/metric', `is never reported: a trial reports ${CURVES.join(' and ')}`)];
  if (pruning.strategy === 'none' || metric !== EVALUATED) return [];
  const message = `0 means that ${EVALUATED} is reported only at the end: nothing could be pruned. Ask for a value above 0, for the metric train.loss, or for pruning none`;
  const index = space.parameters.findIndex(({ name }) => name === 'evaluateEverySteps');
  const tuned = space.parameters[index];
  if (tuned === undefined)
    return trial.hyperparameters.evaluateEverySteps === 0
      ? [at(`${TRIAL}/hyperparameters/evaluateEverySteps`, message)]
      : [];
  return edgesOf(tuned, `${SPACE}/parameters/${index}`).flatMap(({ value, pointer }) =>
    value === 0 ? [at(pointer, message)] : [],
  );
}

/** Settings of an adapter mean nothing when no trial trains one. */
function checkAdapterParameters({ space, trial }: HpoSpec): FieldError[] {
  const methods = space.parameters.flatMap((parameter) =>
    parameter.name === 'method' && parameter.type === 'categorical' ? parameter.choices : [],
  );
  if ((methods.length === 0 ? [trial.method] : methods).some((method) => method !== 'full')) return [];
  return space.parameters.flatMap(({ name }, i) =>
    name.startsWith('lora.')
      ? [at(`${SPACE}/parameters/${i}/name`, 'has no effect: no trial trains an adapter (method lora or qlora)')]
      : [],
  );
}

/**
 * The rules of a fine-tuning at the edges of the space: each parameter at each of its ends, and the number of steps together with what is
 * counted in it. Between two ends that a rule allows it allows everything; what only fails for some combination of other parameters fails
 * its trial, and no other one.
 */
function checkEdges(spec: HpoSpec, findings: FineTuneFindings, known: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set(known);
  const look = (configuration: Configuration, pointer: string): void => {
    if (!constraintsHold(spec.space, configuration)) return;
    for (const error of checkFineTune(trialSpec(spec.trial, configuration), findings, TRIAL)) {
      if (seen.has(keyOf(error))) continue;
      seen.add(keyOf(error));
      errors.push(
        at(pointer, `makes trials that cannot run: ${error.pointer.slice(TRIAL.length + 1)} ${error.message}`),
      );
    }
  };
  const { parameters } = spec.space;
  const [steps] = parameters.filter(({ name }) => name === 'maxSteps');
  for (const [i, parameter] of parameters.entries()) {
    for (const { value, pointer } of edgesOf(parameter, `${SPACE}/parameters/${i}`)) {
      const alone = { ...conditionsOf(parameter, spec.space), [parameter.name]: value };
      look(alone, pointer);
      if (steps !== undefined && COUNTED_IN_STEPS.includes(parameter.name))
        for (const edge of edgesOf(steps, '')) look({ ...alone, maxSteps: edge.value }, pointer);
    }
  }
  return errors;
}

const COUNTED_IN_STEPS: readonly string[] = ['checkpointEverySteps', 'evaluateEverySteps'];

/** Values of other parameters with which this one is active. */
function conditionsOf(parameter: Parameter, space: SearchSpace): Record<string, Choice> {
  const { when } = parameter;
  const parent = space.parameters.find(({ name }) => name === when?.parameter);
  if (when === undefined || parent === undefined) return {};
  const [value = valueAt(parent, 0)] = acceptedValues(when);
  return { ...conditionsOf(parent, space), [parent.name]: value };
}

const keyOf = ({ pointer, message }: FieldError): string => `${pointer} ${message}`;

/** Parameters of which more means more work. */
const COSTLY = ['maxSteps', 'batchSize', 'sequenceLength', 'gradientAccumulationSteps', 'validationTokens'] as const;

/** The most expensive trial that the space can make, for an estimate that is an upper guess. */
export function costliestTrial({ trial, space }: HpoSpec): FineTuneSpec {
  const values: Record<string, Choice> = {};
  for (const parameter of space.parameters) {
    const { name } = parameter;
    const numbers = edgesOf(parameter, '').flatMap(({ value }) => (typeof value === 'number' ? [value] : []));
    if ((COSTLY as readonly string[]).includes(name)) values[name] = Math.max(...numbers);
    if (name === 'evaluateEverySteps')
      values[name] = Math.min(...numbers.filter((n) => n > 0), trial.hyperparameters.maxSteps);
    if (parameter.type === 'categorical' && name === 'method' && parameter.choices.includes('full'))
      values[name] = 'full';
  }
  return trialSpec(trial, values);
}
