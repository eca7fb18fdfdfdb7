import { Value } from '#typebox/value';
import { describe, expect, it } from 'vitest';
import { FineTuneSpec } from '#lib/contracts/jobs.ts';
import { DEFAULT_BUDGET, demoJobs } from './demo-jobs.ts';
import { DemoReport, demoReport, unmetClaims } from './report.ts';
import { findings, summary } from './summary.ts';
import { record } from './test-scene.ts';
import { painted, widthOf } from './text-style.ts';

const records = [record('demo-base', 'full', 1.68), record('demo-whaler', 'lora', 2.617, 2.985)] as const;
const phases = [
  { name: 'start', seconds: 3.12345 },
  { name: 'training', seconds: 60 },
];
const report = demoReport(records, phases, {
  home: '.trainyard/demo/x',
  lossCurve: '.trainyard/demo/x/loss-curve.svg',
});

describe('the jobs of the demo', () => {
  it('match the schema of the API, with any budget', () => {
    for (const budget of [DEFAULT_BUDGET, { baseSteps: 1, loraSteps: 1 }])
      for (const { spec } of demoJobs(budget))
        expect(Value.Check(FineTuneSpec, Value.Default(FineTuneSpec, spec))).toBe(true);
  });
});

describe('the report', () => {
  it('matches its schema and keeps what was measured', () => {
    expect(Value.Check(DemoReport, report)).toBe(true);
    expect(report.evaluation).toEqual({
      unigramBpb: 2.831,
      bigramBpb: 1.784,
      baseBpb: 2.985,
      fineTunedBpb: 2.617,
      standardError: 0.0096,
    });
    expect(report.laneSeconds).toEqual({ useful: 91, lost: 0, waiting: 0.2 });
    expect(report.manifest[1]).toMatchObject({ path: 'demo-whaler/1/model.safetensors', bytes: 681_544 });
    expect(report.phases[0]?.seconds).toBe(3.123);
  });

  it('refuses an evaluation that lacks the comparison with the base', () => {
    const unpaired = [records[0], record('demo-whaler', 'lora', 2.617)] as const;
    expect(() => demoReport(unpaired, phases, { home: '', lossCurve: '' })).toThrow(/same items/);
  });

  it('names the claims that do not hold, and promises a base below bigram only with enough steps', () => {
    expect(unmetClaims(report, DEFAULT_BUDGET)).toEqual([]);
    const weak = { ...report, baseEvaluation: { ...report.baseEvaluation, baseBpb: 1.9 } };
    expect(unmetClaims(weak, { ...DEFAULT_BUDGET, baseSteps: 200 })).toEqual([]);
    expect(unmetClaims(weak, DEFAULT_BUDGET)).toEqual([expect.stringContaining('bigram')]);
    const worse = { ...report, evaluation: { ...report.evaluation, fineTunedBpb: 3 } };
    expect(unmetClaims(worse, DEFAULT_BUDGET)).toEqual([expect.stringContaining('its base')]);
  });
});

describe('the summary', () => {
  const text = (columns: number): string[] =>
    summary(
      report,
      records.map(({ curves }) => curves),
      columns,
    ).map((line) => painted(line, false));

  it('says in words what the figures mean, also where the model is weak', () => {
    expect(findings(report).slice(0, 3)).toEqual([
      'LoRA minus base on Moby-Dick: -0.368, standard error 0.010 (paired, same text).',
      'The base is 0.104 better than a bigram table of its own corpus (counted on the same training text).',
      'The LoRA model is 0.833 worse than a bigram table of Moby-Dick.',
    ]);
  });

  it('shows whole digests where they fit and shortened ones elsewhere', () => {
    expect(text(118).join('\n')).toContain(`681,544  ${'a'.repeat(64)}`);
    expect(text(80).join('\n')).toContain(`681,544  ${'a'.repeat(16)}…`);
  });

  it('fits the width but for the commands, which must stay in one piece', () => {
    const lines = summary(
      report,
      records.map(({ curves }) => curves),
      80,
    );
    const end = lines.findIndex((line) => painted(line, false) === 'Look further');
    for (const line of lines.slice(0, end)) expect(widthOf(line)).toBeLessThanOrEqual(80);
  });

  it('does not let a sample control the terminal', () => {
    expect(text(100).join('\n')).toContain('1. Call me → Ishmael[2J.');
  });
});
