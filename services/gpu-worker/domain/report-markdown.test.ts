import { expect, test } from 'vitest';
import type { ModelReport } from '#lib/contracts/model-report.ts';
import { reportMarkdown } from './report-markdown.ts';

const digest = (letter: string): string => letter.repeat(64);

const report = (change: Partial<ModelReport> = {}): ModelReport => ({
  format: 'trainyard-model-report/1',
  subject: { label: 'demo/3', weights: digest('a') },
  dataset: { name: 'letters', version: 2, format: 'text', sha256: digest('d'), documents: 12, tokens: 3_456 },
  suites: [{ suite: 'bias' }],
  seed: 1,
  metrics: [{ name: 'held_out.loss', value: 2.34567, standardError: 0.0123456, higherIsBetter: false, count: 5 }],
  comparisons: [],
  samples: [],
  ...change,
});

const lines = (text: string): string[] => text.split('\n');

test('every metric has its value, its standard error and its direction', () => {
  expect(lines(reportMarkdown(report()))).toContain('| `held_out.loss` | lower | 2.346 ± 0.01235 | 5 |');
});

test('a metric without a standard error is shown without one', () => {
  const metrics = [{ name: 'm', value: 0.5, standardError: null, higherIsBetter: true, count: 1 }];
  expect(lines(reportMarkdown(report({ metrics })))).toContain('| `m` | higher | 0.5 | 1 |');
});

test('a comparison has the difference with its 95 % interval by Student’s t', () => {
  const metrics = [
    {
      name: 'cloze.x.accuracy',
      value: 0.75,
      standardError: 0.1,
      higherIsBetter: true,
      count: 5,
      baselineValue: 0.5,
      delta: 0.25,
      deltaStandardError: 0.1,
    },
  ];
  const text = reportMarkdown(
    report({ comparisons: [{ subject: { label: 'base/1', weights: digest('b') }, metrics }] }),
  );
  expect(lines(text)).toContain('## Against base/1');
  // t(0.975, 4) = 2.7764
  expect(lines(text)).toContain('| `cloze.x.accuracy` | 0.75 | 0.5 | 0.25 ± 0.1 | -0.02764 to 0.5276 |');
});

test('a difference without a standard error has no interval, and metrics that were not compared no row', () => {
  const plain = { value: 1, standardError: null, higherIsBetter: false, count: 1 };
  const comparisons = [
    {
      subject: { label: 'b', weights: digest('b') },
      metrics: [
        { ...plain, name: 'x', baselineValue: 2, delta: -1 },
        { ...plain, name: 'held_out.unigram_bits_per_byte' },
      ],
    },
  ];
  const text = reportMarkdown(report({ comparisons }));
  expect(lines(text)).toContain('| `x` | 1 | 2 | -1 | unknown |');
  expect(text).not.toContain('unigram');
});

test('labels and generated text cannot break out of their place', () => {
  const subject = { label: 'a | b\n# c', weights: digest('a') };
  const samples = [{ prompt: '# title', text: 'one\n```\r| two' }];
  const text = reportMarkdown(report({ subject, samples }));
  expect(lines(text)[0]).toBe('# Evaluation of a \\| b # c');
  expect(lines(text).filter((line) => line.startsWith('#'))).toHaveLength(2);
  expect(text).toContain('\n    # title\n');
  expect(text).toContain('\n    one\n    ```\n    | two\n');
});
