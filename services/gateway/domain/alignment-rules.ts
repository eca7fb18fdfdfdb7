import type { RlhfSpec } from '#lib/contracts/rlhf-job.ts';
import { meets, type Threshold } from '#lib/contracts/jobs.ts';
import type { FieldError } from '#lib/kernel/errors.ts';
import { type Architecture, at, type ModelFinding } from './findings.ts';
import { checkIntervals, checkRank, checkSequenceLength, refuseAdapterOnAdapter } from './fine-tune-rules.ts';
import { checkPolicy, checkSuites } from './suite-rules.ts';

/** What no schema can say about an alignment, given what its base is: the groups that the algorithm needs and no others, sizes, gates. */
export function checkAlignment(spec: RlhfSpec, base: ModelFinding): FieldError[] {
  const shape = base.kind === 'model' ? base.architecture : null;
  return [
    ...checkGroups(spec),
    ...checkTechnique(spec, base),
    ...(shape === null ? [] : checkSizes(spec, shape)),
    ...checkPpo(spec),
    ...checkAllIntervals(spec),
    ...checkGate(spec.safety, '/spec/safety'),
    ...checkSafety(spec.safety.policy, '/spec/safety/policy'),
    ...checkGate(spec.quality, '/spec/quality'),
  ];
}

function checkGroups({ algorithm, rewardModel, dpo, ppo }: RlhfSpec): FieldError[] {
  const errors: FieldError[] = [];
  if (algorithm === 'dpo') {
    if (dpo === undefined) errors.push(at('/spec/dpo', 'is required for the algorithm dpo'));
    if (ppo !== undefined) errors.push(at('/spec/ppo', 'is only for the algorithm ppo'));
    if (rewardModel !== undefined) errors.push(at('/spec/rewardModel', 'is only for ppo: dpo needs no reward model'));
  } else {
    if (ppo === undefined) errors.push(at('/spec/ppo', 'is required for the algorithm ppo'));
    if (dpo !== undefined) errors.push(at('/spec/dpo', 'is only for the algorithm dpo'));
    if (rewardModel === undefined)
      errors.push(at('/spec/rewardModel', 'is required for ppo, which is trained against a reward model'));
  }
  return errors;
}

function checkTechnique({ technique, lora }: RlhfSpec, base: ModelFinding): FieldError[] {
  if (technique === 'full')
    return lora === undefined ? [] : [at('/spec/lora', 'is only for the techniques lora and qlora')];
  return refuseAdapterOnAdapter(technique, base, '/spec/base/model');
}

function checkSizes({ lora, dpo, ppo, rewardModel }: RlhfSpec, shape: Architecture): FieldError[] {
  const errors = checkRank(lora, shape, '/spec/lora');
  for (const [group, pointer] of [
    [dpo, '/spec/dpo'],
    [ppo, '/spec/ppo'],
    [rewardModel?.hyperparameters, '/spec/rewardModel/hyperparameters'],
  ] as const)
    if (group !== undefined) errors.push(...checkSequenceLength(group.sequenceLength, shape, pointer));
  return errors;
}

function checkPpo({ ppo }: RlhfSpec): FieldError[] {
  if (ppo === undefined) return [];
  const { batchSize, numMiniBatches, responseLength, sequenceLength } = ppo;
  const errors: FieldError[] = [];
  if (batchSize % numMiniBatches !== 0)
    errors.push(at('/spec/ppo/numMiniBatches', `must divide batchSize (${batchSize})`));
  if (responseLength >= sequenceLength)
    errors.push(at('/spec/ppo/responseLength', `must be less than sequenceLength (${sequenceLength})`));
  return errors;
}

function checkAllIntervals({ dpo, ppo, rewardModel }: RlhfSpec): FieldError[] {
  const errors: FieldError[] = [];
  if (dpo !== undefined) errors.push(...checkIntervals(dpo, '/spec/dpo'));
  if (ppo !== undefined)
    errors.push(
      ...checkIntervals({ ...ppo, maxSteps: ppo.rounds * ppo.numPpoEpochs * ppo.numMiniBatches }, '/spec/ppo'),
    );
  if (rewardModel !== undefined)
    errors.push(...checkIntervals(rewardModel.hyperparameters, '/spec/rewardModel/hyperparameters'));
  return errors;
}

/** The base is always scored beside the result, so a policy may compare with it. */
const checkGate = ({ suites, policy }: RlhfSpec['safety'], pointer: string): FieldError[] => [
  ...checkSuites(suites, `${pointer}/suites`),
  ...checkPolicy(policy, suites, `${pointer}/policy`, null),
];

/** A metric that speaks of safety: which values are safer, and the largest there is (the smallest is 0). */
interface SafetyMetric {
  readonly safer: 'lower' | 'higher';
  readonly largest: number;
}

function safetyMetric(name: string): SafetyMetric | null {
  if (name === 'toxicity.share') return { safer: 'lower', largest: 1 };
  if (name === 'refusal.share') return { safer: 'higher', largest: 1 };
  return name.startsWith('bias.') ? { safer: 'lower', largest: Infinity } : null;
}

/** A gate that every model passes is none, and one that no model passes is found out after days of training. */
function checkSafety(policy: readonly Threshold[], pointer: string): FieldError[] {
  const known = policy.map(({ metric }) => safetyMetric(metric));
  if (known.every((metric) => metric === null))
    return [at(pointer, 'says nothing about safety: name a metric of toxicity, bias or refusal')];
  return policy.flatMap((threshold, i) => {
    const metric = known[i];
    if (metric == null) return [];
    const fault = faultOf(threshold, metric);
    return fault === null ? [] : [at(`${pointer}/${i}/${fault.member}`, `${threshold.metric} ${fault.reason}`)];
  });
}

function faultOf(bound: Threshold, { safer, largest }: SafetyMetric) {
  const { operator, relativeTo } = bound;
  const asksForLess = operator === '<' || operator === '<=';
  if (asksForLess !== (safer === 'lower'))
    return {
      member: 'operator',
      reason: `is safer the ${safer} it is: use ${safer === 'lower' ? '< or <=' : '> or >='}`,
    };
  if (relativeTo !== undefined) return null;
  const [best, worst] = asksForLess ? [0, largest] : [largest, 0];
  if (meets(worst, bound))
    return { member: 'threshold', reason: `lies between 0 and ${largest}: every model meets that` };
  return meets(best, bound)
    ? null
    : { member: 'threshold', reason: `lies between 0 and ${largest}: no model meets that` };
}
