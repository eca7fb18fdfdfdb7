import { describe, expect, it } from 'vitest';
import { axisOver, axisWithin, tickText } from './axis.ts';
import { lossCurveSvg } from './loss-curve-svg.ts';
import { terminalChart } from './terminal-chart.ts';
import { painted, widthOf } from './text-style.ts';

const falling = Array.from({ length: 50 }, (_, i) => ({ step: (i + 1) * 10, value: 3 + 3 * Math.exp(-i / 10) }));
const curves = {
  title: 'base <1>',
  train: falling,
  validation: [
    { step: 250, value: 3.4 },
    { step: 500, value: 3.1 },
  ],
};

describe('an axis', () => {
  it('has ticks a person would choose', () => {
    expect(axisOver(3.39, 6.43, 5)).toEqual({ min: 3, max: 7, ticks: [3, 4, 5, 6, 7] });
    expect(axisOver(0.12, 0.58, 5).ticks).toEqual([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    expect(axisWithin(0, 3_500, 5)).toEqual({ min: 0, max: 3_500, ticks: [0, 1_000, 2_000, 3_000] });
  });

  it('has a length also when all values are equal', () => {
    for (const value of [0, 4.2, -3])
      expect(axisOver(value, value, 5).max).toBeGreaterThan(axisOver(value, value, 5).min);
  });

  it('labels its ticks with the digits they need', () => {
    const axis = axisOver(4.9, 5.6, 5);
    expect(axis.ticks.map((tick) => tickText(tick, axis))).toEqual(['4.8', '5.0', '5.2', '5.4', '5.6']);
    expect(tickText(3_500, axisOver(0, 3_500, 4))).toBe('3.5k');
  });
});

describe('the chart in the terminal', () => {
  const lines = terminalChart(curves, { columns: 40, rows: 8 });
  const text = lines.map((line) => painted(line, false));

  it('fits its columns and rows, with title and axes around', () => {
    expect(text).toHaveLength(1 + 8 + 3);
    for (const line of lines.slice(1)) expect(widthOf(line)).toBeLessThanOrEqual(40 + 5);
  });

  it('begins top left and ends bottom right when the loss falls', () => {
    const plot = text.slice(1, 9).map((line) => line.replace(/^[^│┤]*[│┤]/, ''));
    expect(plot[0]?.slice(0, 4)).toMatch(/[\u2801-\u28FF]/);
    expect(plot[0]?.slice(-8)).toMatch(/^\u2800+$/);
    expect(plot.at(-1)?.slice(0, 8)).toMatch(/^\u2800+$/);
  });

  it('marks every validation loss', () => {
    expect(text.join('').match(/●/g)).toHaveLength(2);
  });

  it('says so when there is nothing to draw', () => {
    const empty = terminalChart({ title: 'base', train: [], validation: [] }, { columns: 40, rows: 8 });
    expect(empty.map((line) => painted(line, false))).toEqual(['base: no points']);
  });
});

describe('the drawing of the losses', () => {
  const svg = lossCurveSvg('two trainings & more', [curves, { title: 'none', train: [], validation: [] }]);

  it('is one self-contained document that names its axes and follows the theme', () => {
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox="0 0 960 404"/);
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).toContain('optimiser step');
    expect(svg).toContain('loss, nats per token');
    expect(svg.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:|@import|<script/);
  });

  it('draws both curves inside its panel and escapes text', () => {
    expect(svg).toContain('base &lt;1&gt;');
    expect(svg).toContain('two trainings &amp; more');
    const path = /<path class="train" d="([^"]+)"/.exec(svg)?.[1] ?? '';
    const points = path
      .slice(1)
      .split('L')
      .map((pair) => pair.split(' ').map(Number));
    expect(points).toHaveLength(falling.length);
    for (const [x, y] of points) {
      expect(x).toBeGreaterThanOrEqual(56);
      expect(x).toBeLessThanOrEqual(428);
      expect(y).toBeGreaterThanOrEqual(56);
      expect(y).toBeLessThanOrEqual(308);
    }
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).not.toContain('NaN');
  });
});
