export type Row = Readonly<Record<string, string>>;

/** The element below which a share `q` of the values lies; NaN of nothing. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Prints rows under their column names, numbers to the right. */
export function printTable(rows: readonly Row[]): void {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const width = (column: string): number => Math.max(column.length, ...rows.map((row) => (row[column] ?? '').length));
  const line = (cell: (column: string) => string): string =>
    columns
      .map((column, at) => (at === 0 ? cell(column).padEnd(width(column)) : cell(column).padStart(width(column))))
      .join('  ');
  print(line((column) => column));
  for (const row of rows) print(line((column) => row[column] ?? ''));
}

/** The rounds, and under them the median of every column that holds numbers. */
export function printRounds(rounds: readonly Row[]): void {
  const medians: Record<string, string> = {};
  for (const column of Object.keys(rounds[0] ?? {})) {
    const values = rounds.map((row) => Number(row[column]));
    if (values.some((value) => Number.isNaN(value))) continue;
    const digits = rounds[0]?.[column]?.split('.')[1]?.length ?? 0;
    medians[column] = median(values).toFixed(digits);
  }
  const rows = rounds.map((row, at) => ({ round: String(at + 1), ...row }));
  printTable(rounds.length > 1 ? [...rows, { round: 'median', ...medians }] : rows);
}

/** One line about a goal: reached or missed, by how much. */
export function printGoal(
  what: string,
  value: number,
  unit: string,
  goal: { atMost?: number; atLeast?: number },
): void {
  const reached = value <= (goal.atMost ?? Infinity) && value >= (goal.atLeast ?? -Infinity);
  const bound = goal.atMost === undefined ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`;
  const digits = Math.abs(value) >= 100 ? 0 : 2;
  print(`${reached ? 'reached' : 'MISSED '}  ${what}: ${value.toFixed(digits)} ${unit}, goal ${bound} ${unit}`);
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
