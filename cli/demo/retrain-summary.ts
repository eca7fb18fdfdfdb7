import { Value } from '#typebox/value';
import { comparisonTable } from './metric-table.ts';
import { DriftEvidence, type Promotion, type RetrainResult, type Signal } from './retrain-answers.ts';
import { SCORE, SERVED_MODEL } from './retrain-jobs.ts';
import { indented, prose, section } from './summary-parts.ts';
import { table } from './table.ts';
import { type Line, span } from './text-style.ts';

/** Everything between the first calm question and the promotion. */
export interface Retrained {
  readonly jobId: string;
  readonly result: RetrainResult;
  /** Statuses the job was seen in. */
  readonly statuses: readonly string[];
  /** Signals before anything changed, and at the end, by what became of them. */
  readonly calm: Tally;
  readonly signals: Tally;
  readonly alarm: Pick<Signal, 'id' | 'modelVersion' | 'causes' | 'window' | 'evidence'>;
  /** Newest first. */
  readonly promotions: readonly Promotion[];
  /** Answers by version. */
  readonly answers: Readonly<Record<string, number>>;
}

export type Tally = Readonly<Record<string, number>>;

/** How many signals were sent, and how many were held back for which reason. */
export function tally(signals: readonly Signal[]): Tally {
  const counts: Record<string, number> = {};
  for (const { outcome, reason } of signals) {
    const name = reason === null ? outcome : `${outcome}: ${reason}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

export function retrainSummary(retrained: Retrained, columns: number): Line[] {
  const { result, promotions, answers, alarm, calm, signals } = retrained;
  const { model, comparison, release, data } = result;
  const score = comparison?.metrics.find(({ name }) => name === SCORE);
  return [
    [],
    [
      span(
        `${model.name}/${model.version} is ${release.promoted ? 'in prod' : 'not in prod'}`,
        release.promoted ? 'good' : 'bad',
      ),
      span(`, retrained on ${data.rows} pages after an alarm about version ${alarm.modelVersion ?? '?'}.`),
    ],
    ...section('Drift signals', [
      ...indented(tallyTable('while production was as trained for', calm)),
      ...indented(tallyTable('all in all', signals)),
      [],
      ...indented(evidenceTable(alarm.evidence)),
    ]),
    ...section('The new version on speeches that neither was trained on', [
      ...(comparison === null ? [] : indented(againstChampion(result, comparison))),
      ...(score?.delta === undefined
        ? []
        : prose([differenceText(score.delta, score.deltaStandardError ?? 0)], columns)),
      ...prose([`The decision: ${comparison?.decision.reason ?? 'there was nothing to compare with'}.`], columns),
    ]),
    ...section('Canary', [
      ...indented(canaryTable(release.canary)),
      ...prose([`It ended with: ${release.canary?.outcome ?? 'none'}.`, answersText(answers)], columns),
    ]),
    ...section(
      'Promotions, newest first',
      indented(
        table(
          promotions.map(({ version, stage, reason }) => [`${SERVED_MODEL}/${version}`, stage, span(reason, 'faint')]),
        ),
      ),
    ),
  ];
}

const tallyTable = (when: string, counts: Tally): Line[] => {
  const entries = Object.entries(counts);
  return entries.length === 0
    ? [[span(`${when}: none`)]]
    : [[span(`${when}: ${entries.map(([name, count]) => `${count} ${name}`).join(', ')}`)]];
};

/** The window of the alarm: what people asked, against what the version was made for. */
function evidenceTable(evidence: unknown): Line[] {
  if (!Value.Check(DriftEvidence, evidence)) return [];
  const head = [`window of the alarm, ${evidence.window.observations} answers`, 'distance', 'p, adjusted', ''];
  const rows = evidence.features.map(({ feature, drifted, adjustedPValue, jensenShannon }) => [
    feature,
    jensenShannon.toFixed(3),
    adjustedPValue < 0.0001 ? adjustedPValue.toExponential(1) : adjustedPValue.toFixed(4),
    drifted ? span('drifted', 'bad') : span('as it was', 'faint'),
  ]);
  return table([head.map((title) => span(title, 'faint')), ...rows], ['left', 'right', 'right', 'left']);
}

function againstChampion(
  { champion, model }: RetrainResult,
  { metrics }: NonNullable<RetrainResult['comparison']>,
): Line[] {
  const comparisons = [{ label: `${model.name}/${champion ?? '?'}`, metrics }];
  return comparisonTable(`${model.name}/${model.version}`, { evaluation: { metrics }, comparisons });
}

function canaryTable(canary: RetrainResult['release']['canary']): Line[] {
  const arm = (mean: number | null, count: number): string => `${mean === null ? '' : mean.toFixed(4)} of ${count}`;
  const head = ['metric', 'new version', 'old version', ''].map((title) => span(title, 'faint'));
  const rows = (canary?.reports ?? []).map((of) => [
    of.metric,
    arm(of.canaryMean, of.canaryCount),
    arm(of.baselineMean, of.baselineCount),
    span(of.standing, 'faint'),
  ]);
  return table([head, ...rows], ['left', 'right', 'right', 'left']);
}

const differenceText = (delta: number, standardError: number): string =>
  `Bits per byte, new minus old version: ${delta.toFixed(3)} ± ${standardError.toFixed(3)} (paired, the same text; lower is better).`;

const answersText = (answers: Retrained['answers']): string =>
  `Answers of the demo's people: ${Object.entries(answers)
    .map(([version, count]) => `${count} by version ${version}`)
    .join(', ')}.`;

/** What a retrain has to be seen doing. */
const STATUSES = ['AWAITING_APPROVAL', 'CANARY', 'COMPLETED'];

export function unmetOfRetrain({ result, statuses, calm, promotions }: Retrained): string[] {
  const { model, release, comparison } = result;
  const unmet = STATUSES.filter((status) => !statuses.includes(status)).map(
    (status) => `the retrain was never ${status}`,
  );
  if ((calm['signalled'] ?? 0) > 0) unmet.push('there was an alarm before anything had changed');
  if (comparison?.decision.better !== true) unmet.push('the new version was not better');
  if (!release.promoted) unmet.push('the new version was not promoted');
  const [newest] = promotions;
  if (newest?.version !== model.version || newest.stage !== 'prod')
    unmet.push('the ledger does not end with the promotion');
  return unmet;
}
