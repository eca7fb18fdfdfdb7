import { type Axis, along, axisOver, axisWithin, tickText } from './axis.ts';
import { type CurvePoint, extent, type LearningCurves } from './learning-curves.ts';
import { type Line, span } from './text-style.ts';

/** Braille cells hold 2 x 4 dots; the bit of each by column and row (Unicode 2800). */
const BITS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;
const BLANK = 0x2800;
const MARK = '●';

/** What the lines mean, for all charts together. */
export const CHART_LEGEND: Line = [
  span('⠤⠒⠤ training', 'active'),
  span('   '),
  span(`${MARK} validation`, 'accent'),
  span('   in nats per token', 'faint'),
];

/** Room for the plot itself, in cells. */
export interface ChartSize {
  readonly columns: number;
  readonly rows: number;
}

/** The training loss as a braille line and the validation losses as dots over it, with axes; told apart without colour. */
export function terminalChart(curves: LearningCurves, size: ChartSize): Line[] {
  const range = extent(curves);
  if (range === null) return [[span(`${curves.title}: no points`, 'faint')]];
  const x = axisWithin(Math.min(0, range.steps[0]), range.steps[1], Math.max(2, Math.floor(size.columns / 12)));
  const y = axisOver(range.losses[0], range.losses[1], Math.max(2, Math.floor(size.rows / 2)));
  const dots = brailleLine(curves.train, x, y, size);
  const marks = markCells(curves.validation, x, y, size);
  const labels = new Map(y.ticks.map((tick) => [rowOf(tick, y, size), tickText(tick, y)]));
  const margin = Math.max(...[...labels.values()].map((label) => label.length));
  const body = Array.from({ length: size.rows }, (_, row): Line => {
    const label = labels.get(row);
    const cells = Array.from({ length: size.columns }, (_, column) =>
      marks.has(row * size.columns + column)
        ? span(MARK, 'accent')
        : span(String.fromCodePoint(BLANK + (dots[row * size.columns + column] ?? 0)), 'active'),
    );
    return [span(`${(label ?? '').padStart(margin)} ${label === undefined ? '│' : '┤'}`, 'faint'), ...merged(cells)];
  });
  return [[span(curves.title)], ...body, ...stepAxis(x, margin, size)];
}

const rowOf = (value: number, y: Axis, { rows }: ChartSize): number =>
  Math.min(rows - 1, Math.max(0, Math.round((1 - along(y, value)) * (rows - 1))));

/** Bits by cell of a line through the points. */
function brailleLine(points: readonly CurvePoint[], x: Axis, y: Axis, { columns, rows }: ChartSize): Uint8Array {
  const cells = new Uint8Array(columns * rows);
  const [width, height] = [columns * 2, rows * 4];
  const place = ({ step, value }: CurvePoint): [number, number] => [
    Math.round(along(x, step) * (width - 1)),
    Math.round((1 - along(y, value)) * (height - 1)),
  ];
  const set = (column: number, row: number): void => {
    const cell = Math.floor(row / 4) * columns + Math.floor(column / 2);
    cells[cell] = (cells[cell] ?? 0) | (BITS[column % 2 === 0 ? 0 : 1][row % 4] ?? 0);
  };
  let before: [number, number] | null = null;
  for (const point of points) {
    const [toX, toY] = place(point);
    const [fromX, fromY] = before ?? [toX, toY];
    const length = Math.max(Math.abs(toX - fromX), Math.abs(toY - fromY), 1);
    for (let i = 0; i <= length; i++)
      set(Math.round(fromX + ((toX - fromX) * i) / length), Math.round(fromY + ((toY - fromY) * i) / length));
    before = [toX, toY];
  }
  return cells;
}

function markCells(points: readonly CurvePoint[], x: Axis, y: Axis, size: ChartSize): ReadonlySet<number> {
  return new Set(
    points.map(
      ({ step, value }) => rowOf(value, y, size) * size.columns + Math.round(along(x, step) * (size.columns - 1)),
    ),
  );
}

function stepAxis(x: Axis, margin: number, { columns }: ChartSize): Line[] {
  const rule = Array.from({ length: columns }, () => '─');
  let labels = '';
  for (const tick of x.ticks) {
    const column = Math.round(along(x, tick) * (columns - 1));
    const text = tickText(tick, x);
    const start = Math.min(Math.max(column - Math.floor(text.length / 2), 0), columns - text.length);
    rule[column] = '┬';
    if (start >= labels.length + (labels === '' ? 0 : 1)) labels = labels.padEnd(start) + text;
  }
  const indent = ' '.repeat(margin + 1);
  return [
    [span(`${indent}└${rule.join('')}`, 'faint')],
    [span(`${indent} ${labels}`, 'faint')],
    [span(`${indent} ${'optimiser step'.padStart(Math.floor(columns / 2) + 7)}`, 'faint')],
  ];
}

/** Neighbours of one tone as one span: fewer escape sequences. */
function merged(cells: Line): Line {
  const spans: { text: string; tone: Line[number]['tone'] }[] = [];
  for (const { text, tone } of cells) {
    const last = spans.at(-1);
    if (last?.tone === tone) last.text += text;
    else spans.push({ text, tone });
  }
  return spans;
}
