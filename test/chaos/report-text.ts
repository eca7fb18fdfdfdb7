import type { ChaosReport, KindRow } from './report.ts';

/** The report for a terminal. */
export function reportText(report: ChaosReport): string {
  const { laneMs, duplicateMessages, outbox, jobs } = report;
  const duplicates = Object.entries(duplicateMessages).map(([topic, n]) => `${topic} ${n}`);
  const ends = Object.entries(jobs).map(([status, n]) => `${n} ${status}`);
  const byType = Object.entries(report.jobEnds).map(([end, n]) => `${n} ${end}`);
  const own = Object.entries(report.ownEnds).map(([how, n]) => `${n} x ${how}`);
  return [
    `seed ${report.seed}: ${report.setting}`,
    `${report.faults} faults in ${report.seconds.faults.toFixed(0)} s (${report.faultsMissed} found nothing to strike), ${report.seconds.total.toFixed(0)} s in all`,
    '',
    ...table(report.kinds),
    '',
    `jobs: ${report.jobsAccepted} accepted, ${ends.join(', ')}; lost: ${report.jobsLost}`,
    `of each type: ${byType.join(', ')}`,
    `model versions published twice: ${report.versionsPublishedTwice}`,
    `log: ${report.facts} facts, of which ${report.lateReports} late reports without effect`,
    `bus: ${report.messages} messages, duplicates without effect: ${duplicates.length === 0 ? 'none' : duplicates.join(', ')}`,
    `lane seconds: ${s(laneMs.useful)} useful, ${s(laneMs.lost)} lost, ${s(laneMs.waiting)} waiting`,
    `outbox: at most ${outbox.deepest} rows, the oldest ${s(outbox.oldestMs)} s old`,
    `processes that ended by themselves: ${own.length === 0 ? 'none' : own.join(', ')}`,
    '',
    ...(report.trouble.length === 0 ? [] : ['warnings and worse that the services logged, most frequent first:']),
    ...report.trouble.map(({ service, level, message, count }) => `  ${count} x ${service} ${level} ${message}`),
    '',
    ...(report.violations.length === 0
      ? ['every invariant held']
      : [`${report.violations.length} INVARIANTS BROKEN:`, ...report.violations.map((line) => `  ${line}`)]),
    '',
  ].join('\n');
}

const HEAD = ['fault', 'n', 'down s', 'recovery p50 s', 'p99 s', 'unseen', 'attempts lost', 'lane s lost'];

function table(kinds: readonly KindRow[]): string[] {
  const rows = [HEAD, ...kinds.map(cells)];
  const widths = HEAD.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

const cells = (row: KindRow): string[] => [
  row.kind,
  String(row.faults),
  s(row.downMs),
  row.recoveryP50Ms === null ? '-' : s(row.recoveryP50Ms),
  row.recoveryP99Ms === null ? '-' : s(row.recoveryP99Ms),
  String(row.unseen),
  String(row.attemptsLost),
  s(row.laneMsLost),
];

const s = (ms: number): string => (ms / 1_000).toFixed(1);
