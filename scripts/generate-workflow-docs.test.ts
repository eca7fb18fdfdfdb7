import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Value } from '#typebox/value';
import { JOB_SPECS } from '#lib/contracts/job-specs.ts';
import { JOB_TYPES } from '#lib/contracts/jobs.ts';
import { PROFILES } from '../services/orchestrator/domain/workflows/registry.ts';
import { withGenerated, workflowPage } from './generate-workflow-docs.ts';

const pageOf = (type: (typeof JOB_TYPES)[number]): string => readFileSync(workflowPage(type), 'utf8');

describe.each(JOB_TYPES)('the page of %s', (type) => {
  const page = pageOf(type);

  it('shows the machine as it is (else: node scripts/generate-workflow-docs.ts)', () => {
    expect(page).toBe(withGenerated(page, type));
  });

  it('is about the version that jobs start on, with every status it can end with', () => {
    expect(page).toContain(`\`${PROFILES[type].current}\``);
    const drawn = [...page.matchAll(/--> \[\*\]: (\w+)$/gm)].map(([, status]) => status ?? '');
    expect(drawn.length).toBeGreaterThan(1);
    const ends = page.slice(page.indexOf('\n## Ends'));
    expect(drawn.filter((status) => !ends.includes(status))).toEqual([]);
  });

  it('has an example that the gateway would take in', () => {
    const [, body = ''] = /-d '([\s\S]*?)'\n```/.exec(page) ?? [];
    const { type: named, spec } = JSON.parse(body) as { type: string; spec: unknown };
    expect(named).toBe(type);
    expect([...Value.Errors(JOB_SPECS[type], Value.Default(JOB_SPECS[type], spec))]).toEqual([]);
  });
});

it('a page without the marks is a mistake and not left as it is', () => {
  expect(() => withGenerated('# eval_only\n', 'eval_only')).toThrow(/has no place for its generated part/);
});
