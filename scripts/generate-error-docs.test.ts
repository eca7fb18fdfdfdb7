import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ERROR_CATALOGUE } from '#lib/kernel/error-catalogue.ts';
import { errorDocs, sectionsOf } from './generate-error-docs.ts';

const ROOT = join(import.meta.dirname, '..');
const source = readFileSync(join(ROOT, 'lib/kernel/error-catalogue.ts'), 'utf8');

it('docs/errors.md is what the catalogue says (else: node scripts/generate-error-docs.ts)', () => {
  expect(readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')).toBe(errorDocs(ERROR_CATALOGUE, sectionsOf(source)));
});

it('every code of the catalogue is in it, below the heading of its area', () => {
  const docs = errorDocs(ERROR_CATALOGUE, sectionsOf(source));
  for (const code of Object.keys(ERROR_CATALOGUE)) expect(docs).toContain(`| \`${code}\` |`);
  expect(docs).toContain('## Requests (gateway)');
});
