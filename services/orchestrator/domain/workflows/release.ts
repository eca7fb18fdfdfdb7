import type { ReleaseSettings } from '#lib/contracts/release.ts';
import { invariant } from '#lib/kernel/errors.ts';
import { outputOf } from './vocabulary.ts';
import type { StateDeclaration, Vocabulary, WorkflowContext } from './workflow-types.ts';

/** A registered version that may go to production. */
export interface Candidate {
  readonly name: string;
  readonly version: number;
  /** Digest of its manifest. */
  readonly artifacts: string;
  /** Digests of the reports that speak for it, by name. */
  readonly reports: Readonly<Record<string, string>>;
}

interface ReleaseOptions<Input> {
  readonly settings: (context: WorkflowContext<Input>) => ReleaseSettings | undefined;
  readonly candidate: (context: WorkflowContext<Input>) => Candidate;
  /** The version in production that the candidate was compared with; absent = it was compared with none. */
  readonly comparedWith?: (context: WorkflowContext<Input>) => number | null;
  readonly result: (context: WorkflowContext<Input>) => object;
}

/**
 * From a registered version to production, the same for every flow that releases: approval, canary, promotion, each if it was asked for. Enter at
 * `releasing`. Ends: COMPLETED (promoted, or kept in `dev` as asked), REJECTED (by people, or because production changed meanwhile), ROLLED_BACK.
 */
export function release<Input>(
  { runs, chooses, asks, promotes, watches, ends }: Vocabulary<Input>,
  options: ReleaseOptions<Input>,
): Record<string, StateDeclaration<Input>> {
  const {
    isOutdated,
    staysInDev,
    needsApproval,
    goesThroughCanary,
    peopleDecide,
    to,
    subject,
    policy,
    canary,
    end,
    tooLate,
  } = questions(options);
  const { candidate, comparedWith } = options;
  return {
    releasing: chooses(
      { when: staysInDev, to: 'kept' },
      { when: needsApproval, to: 'approving' },
      { to: 'findingChampion' },
    ),
    approving: asks({
      approval: 'release',
      subject: subject('release'),
      policy,
      onApproved: 'findingChampion',
      onRefused: 'rejected',
    }),
    findingChampion: runs('find_champion', {
      lane: 'cpu',
      startToClose: '30m',
      input: (context) => ({ model: candidate(context).name }),
      onDone: [
        ...(comparedWith === undefined ? [] : [{ when: isOutdated, to: 'outdated' }]),
        { when: goesThroughCanary, to: 'staging' },
        { to: 'promoting' },
      ],
    }),
    staging: promotes(to('staging', 'a canary starts'), { onDone: 'canary' }),
    canary: watches(canary, {
      onPass: 'promoting',
      onFail: 'archiving',
      onInconclusive: [{ when: peopleDecide, to: 'decidingCanary' }, { to: 'archiving' }],
    }),
    decidingCanary: asks({
      approval: 'canary',
      subject: subject('inconclusive_canary'),
      policy,
      onApproved: 'promoting',
      onRefused: 'archiving',
      ifCutOff: to('archived', 'the decision about the canary was cut off'),
    }),
    promoting: promotes(to('prod', 'released'), { onDone: 'completed' }),
    archiving: promotes(to('archived', 'the canary was not passed'), { onDone: 'rolledBack' }),
    completed: ends('COMPLETED', (context) => end(context, true)),
    kept: ends('COMPLETED', (context) => end(context, false)),
    rejected: ends('REJECTED', (context) => end(context, false)),
    rolledBack: ends('ROLLED_BACK', (context) => end(context, false)),
    ...(comparedWith === undefined
      ? {}
      : {
          outdated: ends('REJECTED', tooLate),
        }),
  };
}

/** What the states of a release ask of the context. */
function questions<Input>({ settings, candidate, comparedWith, result }: ReleaseOptions<Input>) {
  type Context = WorkflowContext<Input>;
  const asked = (context: Context): ReleaseSettings => settings(context) ?? { promote: false };
  const staysInDev = (context: Context): boolean => !asked(context).promote;
  const needsApproval = (context: Context): boolean => asked(context).approval !== undefined;
  const champion = (context: Context): number | null => outputOf(context, 'find_champion').version;
  /** Production changed while the candidate was trained or reviewed: it was compared with something else. */
  const isOutdated = (context: Context): boolean =>
    comparedWith !== undefined && champion(context) !== comparedWith(context);
  const goesThroughCanary = (context: Context): boolean =>
    asked(context).canary !== undefined && champion(context) !== null;
  const peopleDecide = (context: Context): boolean => asked(context).canary?.onInconclusive !== 'rollback';
  const to = (stage: 'staging' | 'prod' | 'archived', reason: string) => (context: Context) => {
    const { name, version } = candidate(context);
    return { model: name, version, stage, reason };
  };
  const subject = (kind: 'release' | 'inconclusive_canary') => (context: Context) => {
    const { name, version, artifacts, reports } = candidate(context);
    const reviewed = { kind, model: { name, version }, artifacts, reports: { ...reports } };
    if (kind === 'release') return reviewed;
    return { ...reviewed, canary: { baseline: champion(context), reports: [...(context.canary?.reports ?? [])] } };
  };
  const policy = (context: Context) => asked(context).approval ?? DEFAULT_APPROVAL;
  const canary = (context: Context) => {
    const baseline = champion(context);
    const settings = asked(context).canary;
    invariant(baseline !== null && settings !== undefined, 'a canary has a baseline');
    const { name, version } = candidate(context);
    return { model: name, version, baseline, settings };
  };
  const end = (context: Context, promoted: boolean) => ({
    ...result(context),
    release: { promoted, approvals: context.approvals ?? {}, canary: context.canary ?? null },
  });
  const tooLate = (context: Context) => ({
    ...end(context, false),
    reason: `version ${champion(context) ?? 'none'} is in production by now; the candidate was compared with ${comparedWith?.(context) ?? 'none'}`,
  });
  return {
    isOutdated,
    staysInDev,
    needsApproval,
    goesThroughCanary,
    peopleDecide,
    to,
    subject,
    policy,
    canary,
    end,
    tooLate,
  };
}

/** Who decides an inconclusive canary of a release that nobody had to approve. */
const DEFAULT_APPROVAL = { required: 1, expiresAfterHours: 72, remindEveryHours: 24 };
