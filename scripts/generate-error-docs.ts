import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CatalogueEntry } from '../lib/kernel/catalogue-entry.ts';
import { ERROR_CATALOGUE } from '../lib/kernel/error-catalogue.ts';

/** Writes `docs/errors.md` from the error catalogue; `--check` only compares and exits with 1 when they differ. */
const ROOT = join(import.meta.dirname, '..');
const TARGET = join(ROOT, 'docs/errors.md');

if (import.meta.main) {
  const source = await readFile(join(ROOT, 'lib/kernel/error-catalogue.ts'), 'utf8');
  const wanted = errorDocs(ERROR_CATALOGUE, sectionsOf(source));
  if (!process.argv.includes('--check')) await writeFile(TARGET, wanted);
  else if ((await readFile(TARGET, 'utf8').catch(() => '')) !== wanted) {
    process.stderr.write('docs/errors.md is not what the catalogue says: run `node scripts/generate-error-docs.ts`\n');
    process.exitCode = 1;
  }
}

/** First code of each section, by the section's comment in the catalogue's source. */
export function sectionsOf(source: string): Map<string, string> {
  const sections = new Map<string, string>();
  for (const [, title, code] of source.matchAll(/\/\/ --- (.+?) ---\s+(\w+): entry\(/g))
    if (title !== undefined && code !== undefined) sections.set(code, title);
  return sections;
}

export function errorDocs(
  catalogue: Readonly<Record<string, CatalogueEntry>>,
  sections: ReadonlyMap<string, string>,
): string {
  const lines = [
    '# Errors',
    '',
    'Every code Trainyard can show, generated from `lib/kernel/error-catalogue.ts` by `node scripts/generate-error-docs.ts`.',
    'A REST call is refused with a problem document (RFC 9457): `code` is one of these, `errors[].pointer` names the field. A running',
    "gateway answers `GET /errors/<code>` with the same. **Class** says what happens to a job's activity that fails with the code:",
    '`retryable` is tried again under its retry policy, `non_retryable` fails the job at once, `gate` is the no of a policy.',
  ];
  for (const [code, { class: failureClass, http, cause, remedy }] of Object.entries(catalogue)) {
    const section = sections.get(code);
    if (section !== undefined)
      lines.push(
        '',
        `## ${section[0]?.toUpperCase()}${section.slice(1)}`,
        '',
        '| code | HTTP | class | cause | what to do |',
        '|---|---|---|---|---|',
      );
    lines.push(`| \`${code}\` | ${http ?? ''} | ${failureClass} | ${cell(cause)} | ${cell(remedy)} |`);
  }
  return `${lines.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
