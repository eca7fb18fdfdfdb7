import type { FieldError } from '../kernel/errors.ts';
import { stepFits, valueCount } from './parameter-values.ts';
import type { SamplerSettings } from './sampler-settings.ts';
import type { CategoricalParameter, NumericParameter, Parameter } from './search-space.ts';

/** The contradictions inside one parameter, at JSON pointers from the parameter on. */
export function checkParameter(parameter: Parameter, sampler: SamplerSettings['type']): FieldError[] {
  return parameter.type === 'categorical' ? checkChoices(parameter) : checkNumbers(parameter, sampler);
}

function checkChoices({ choices }: CategoricalParameter): FieldError[] {
  if (choices.length === 0) return [{ pointer: '/choices', message: 'must not be empty' }];
  return choices.flatMap((choice, i) =>
    choices.indexOf(choice) < i
      ? [{ pointer: `/choices/${i}`, message: `names ${JSON.stringify(choice)} a second time` }]
      : [],
  );
}

function checkNumbers(parameter: NumericParameter, sampler: SamplerSettings['type']): FieldError[] {
  const { min, max, step, log } = parameter;
  if (min > max) return [{ pointer: '/min', message: `is above max (${max})` }];
  if (max - min === Infinity)
    return [{ pointer: '/max', message: `is too far from min (${min}): their difference is no number` }];
  // Half a step below the minimum is drawn from, too: 1 for whole numbers.
  if (log === true && min <= 0) return [{ pointer: '/min', message: 'must be above 0 with log' }];
  if (log === true && step !== undefined && (parameter.type === 'float' || step !== 1))
    return [{ pointer: '/step', message: 'cannot be together with log: list the values as a categorical parameter' }];
  if (!stepFits(parameter))
    return [{ pointer: '/step', message: `does not reach max (${max}) from min (${min}) in whole steps` }];
  if (sampler === 'grid' && valueCount(parameter) === Infinity)
    return [
      {
        pointer: log === true ? '' : '/step',
        message: 'a grid needs a step, or the values as a categorical parameter',
      },
    ];
  return [];
}
