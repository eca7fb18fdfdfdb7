import { type Axis, along, axisOver, axisWithin, tickText } from './axis.ts';
import { type CurvePoint, extent, type LearningCurves } from './learning-curves.ts';

/** Pixels of one panel, its margins included. */
const PANEL = { width: 480, height: 360, left: 56, right: 52, top: 56, bottom: 52 };
const HEADER = 44;

/** Readable on white and on black; colours told apart also with colour-blind eyes (Okabe and Ito's blue and orange). */
const STYLE = `
  svg { --ground: #ffffff; --ink: #1d2430; --faint: #667085; --grid: #e6e9ef; --train: #0072b2; --validation: #c15c00; }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #14181f; --ink: #e8ecf3; --faint: #98a2b3; --grid: #2a313c; --train: #56b4e9; --validation: #f0a04b; }
  }
  text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; font-size: 12px; fill: var(--faint); }
  .heading { font-size: 17px; font-weight: 600; fill: var(--ink); }
  .title { font-size: 13px; font-weight: 600; fill: var(--ink); }
  .ground { fill: var(--ground); }
  .grid { stroke: var(--grid); stroke-width: 1; }
  .axis { stroke: var(--faint); stroke-width: 1; }
  .train { fill: none; stroke: var(--train); stroke-width: 1.5; stroke-linejoin: round; }
  .validation { fill: none; stroke: var(--validation); stroke-width: 2; stroke-linejoin: round; }
  .dot { fill: var(--ground); stroke: var(--validation); stroke-width: 2; }`;

/** A self-contained SVG document: one panel a training, side by side, follows the reader's light or dark theme. */
export function lossCurveSvg(heading: string, trainings: readonly LearningCurves[]): string {
  const width = PANEL.width * Math.max(1, trainings.length);
  const height = PANEL.height + HEADER;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(heading)}">`,
    `<title>${escaped(heading)}</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="ground" width="${width}" height="${height}" rx="8"/>`,
    `<text class="heading" x="${PANEL.left}" y="34">${escaped(heading)}</text>`,
    ...trainings.map(
      (curves, index) => `<g transform="translate(${index * PANEL.width} ${HEADER})">${panel(curves)}</g>`,
    ),
    '</svg>\n',
  ].join('\n');
}

interface Plot {
  readonly x: Axis;
  readonly y: Axis;
  readonly right: number;
  readonly bottom: number;
}

function panel(curves: LearningCurves): string {
  const title = `<text class="title" x="${PANEL.left}" y="24">${escaped(curves.title)}</text>`;
  const range = extent(curves);
  if (range === null) return `${title}<text x="${PANEL.left}" y="${PANEL.top + 20}">no points</text>`;
  const plot: Plot = {
    x: axisWithin(Math.min(0, range.steps[0]), range.steps[1], 5),
    y: axisOver(range.losses[0], range.losses[1], 5),
    right: PANEL.width - PANEL.right,
    bottom: PANEL.height - PANEL.bottom,
  };
  const last = curves.validation.at(-1);
  return [
    title,
    legend(),
    ...grid(plot),
    path('train', curves.train, plot),
    path('validation', curves.validation, plot),
    ...curves.validation.map(
      (point) =>
        `<circle class="dot" cx="${horizontal(point.step, plot)}" cy="${vertical(point.value, plot)}" r="3"><title>step ${point.step}: validation loss ${point.value.toFixed(3)}</title></circle>`,
    ),
    last === undefined
      ? ''
      : `<text x="${plot.right + 8}" y="${Number(vertical(last.value, plot)) + 4}" style="fill: var(--validation)">${last.value.toFixed(3)}</text>`,
    `<text x="${(PANEL.left + plot.right) / 2}" y="${PANEL.height - 14}" text-anchor="middle">optimiser step</text>`,
    `<text transform="translate(16 ${(PANEL.top + plot.bottom) / 2}) rotate(-90)" text-anchor="middle">loss, nats per token</text>`,
  ].join('\n');
}

function legend(): string {
  const y = PANEL.top - 16;
  const key = (x: number, name: string): string =>
    `<line class="${name}" x1="${x}" y1="${y - 4}" x2="${x + 22}" y2="${y - 4}"/><text x="${x + 28}" y="${y}">${name === 'train' ? 'training' : name}</text>`;
  return key(PANEL.left, 'train') + key(PANEL.left + 96, 'validation');
}

function grid(plot: Plot): string[] {
  const { x, y, right, bottom } = plot;
  return [
    ...y.ticks.map((tick) => {
      const at = vertical(tick, plot);
      return `<line class="grid" x1="${PANEL.left}" y1="${at}" x2="${right}" y2="${at}"/><text x="${PANEL.left - 8}" y="${Number(at) + 4}" text-anchor="end">${tickText(tick, y)}</text>`;
    }),
    ...x.ticks.map((tick) => {
      const at = horizontal(tick, plot);
      return `<line class="axis" x1="${at}" y1="${bottom}" x2="${at}" y2="${bottom + 5}"/><text x="${at}" y="${bottom + 19}" text-anchor="middle">${tickText(tick, x)}</text>`;
    }),
    `<line class="axis" x1="${PANEL.left}" y1="${bottom}" x2="${right}" y2="${bottom}"/>`,
  ];
}

function path(name: string, points: readonly CurvePoint[], plot: Plot): string {
  const moves = points.map(
    ({ step, value }, i) => `${i === 0 ? 'M' : 'L'}${horizontal(step, plot)} ${vertical(value, plot)}`,
  );
  return `<path class="${name}" d="${moves.join('')}"/>`;
}

const horizontal = (step: number, { x, right }: Plot): string =>
  (PANEL.left + along(x, step) * (right - PANEL.left)).toFixed(1);
const vertical = (value: number, { y, bottom }: Plot): string =>
  (bottom - along(y, value) * (bottom - PANEL.top)).toFixed(1);

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
