import type { Phase } from './phases.ts';
import { seconds } from './quantities.ts';
import { table, wrapped } from './table.ts';
import { type Line, span } from './text-style.ts';

/** Where `npm start` listens unless told otherwise. */
const GATEWAY = 'http://127.0.0.1:8080';

export const section = (title: string, lines: readonly Line[]): Line[] => [[], [span(title, 'strong')], ...lines];
export const indented = (lines: readonly Line[]): Line[] => lines.map((line) => [span('  '), ...line]);
export const prose = (sentences: readonly string[], width: number): Line[] =>
  sentences.flatMap((sentence) => wrapped(`- ${sentence}`, width, '  ').map((line): Line => [span(line)]));

/** Where the time went, one phase a row. */
export function wallTime(phases: readonly Phase[]): Line[] {
  const total = phases.reduce((sum, phase) => sum + phase.seconds, 0);
  const rows = [...phases.map((phase) => [phase.name, seconds(phase.seconds)]), ['together', seconds(total)]];
  return indented(table(rows, ['left', 'right']));
}

/** Commands that work as printed, in the folder of the project, for paths of the API. */
export function lookFurther(home: string, paths: readonly string[]): Line[] {
  const lines = [
    `  npm start -- --home ${home}`,
    '  then, in a second terminal:',
    `  KEY=$(cat ${home}/admin.key)`,
    ...paths.map((path) => `  curl -sH "Authorization: Bearer $KEY" "${GATEWAY}${path}"`),
    `  all of the API: ${GATEWAY}/docs   all of the above as JSON: ${home}/report.json`,
  ];
  return lines.map((line) => [span(line)]);
}
