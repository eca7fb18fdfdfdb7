import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERROR_CATALOGUE } from '#lib/kernel/error-catalogue.ts';
import { isTest, markdownFiles, moduleFiles, read, repositoryFiles, ROOT } from './source-tree.ts';

const documents = markdownFiles().map((path) => ({ path, text: read(path) }));
const SERVICES = ['gateway', 'orchestrator', 'cpu-worker', 'gpu-worker', 'drift-monitor'];
const DECISIONS = 'docs/decisions';

/** Words and code spans in a document, without fenced examples. */
const withoutExamples = (text: string): string => text.replaceAll(/^```[\s\S]*?^```/gm, '');

describe('documents', () => {
  it('are looked at: more than ten of them', () => {
    expect(documents.length).toBeGreaterThan(10);
  });

  it('link only to files that exist', () => {
    const broken = documents.flatMap(({ path, text }) =>
      [...withoutExamples(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
        const file = link.replace(/#.*$/, '');
        if (file === '' || /^[a-z][a-z0-9+.-]*:/.test(file)) return [];
        return existsSync(join(ROOT, posix.dirname(path), file)) ? [] : [`${path} -> ${link}`];
      }),
    );
    expect(broken).toEqual([]);
  });

  it('name only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = documents.flatMap(({ path, text }) =>
      [...text.matchAll(/\bnpm (?:run ([a-z][a-z:-]*)|(start|test)\b)/g)].map(([, script, short]) => ({
        path,
        script: script ?? short ?? '',
      })),
    );
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter(({ script }) => scripts[script] === undefined)).toEqual([]);
  });

  it('name only tests that exist', () => {
    const tests = repositoryFiles().filter((path) => /\.(test|contract)\.ts$/.test(path));
    const named = documents.flatMap(({ path, text }) =>
      [...text.matchAll(/`([\w./-]+\.(?:test|contract)\.ts)`/g)].map(([, test = '']) => ({ path, test })),
    );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(({ test }) => !tests.some((each) => each === test || each.endsWith(`/${test}`)))).toEqual([]);
  });

  it('quote the titles of tests as they are', () => {
    const tests = repositoryFiles().filter((path) => path.endsWith('.ts') && isTest(path));
    const titles = tests.map(read).join('\n').replaceAll("\\'", "'");
    const text = read('docs/failure-modes.md');
    // After the name of a test file come its titles, in quotation marks, separated by commas.
    const quoted = [...text.matchAll(/\.(?:test|contract)\.ts`((?:,? "[^"\n]+")+)/g)].flatMap(([, list = '']) =>
      [...list.matchAll(/"([^"]+)"/g)].map(([, title = '']) => title),
    );
    expect(quoted.length).toBeGreaterThan(15);
    expect(quoted.filter((title) => !titles.includes(title))).toEqual([]);
  });

  it('name only error codes of the catalogue in docs/errors.md, and all of them', () => {
    const codes = [...read('docs/errors.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(20);
    expect(new Set(codes)).toEqual(new Set(Object.keys(ERROR_CATALOGUE)));
    expect(codes).toHaveLength(Object.keys(ERROR_CATALOGUE).length);
  });

  it('are in the root folder: README for users, CONTRIBUTING and AGENTS for developers, the changes, the licence', () => {
    const missing = ['README.md', 'CONTRIBUTING.md', 'AGENTS.md', 'CHANGELOG.md', 'LICENSE'].filter(
      (name) => !existsSync(join(ROOT, name)),
    );
    expect(missing).toEqual([]);
    expect(read('LICENSE')).toContain('Apache License');
  });

  it('of every service say what it owns, consumes, emits, keeps in tables, and what happens when it dies', () => {
    const missing = SERVICES.flatMap((service) => {
      const text = read(`services/${service}/README.md`).toLowerCase();
      return ['owns', 'consumes', 'emits', 'dies']
        .filter((word) => !text.includes(word))
        .map((word) => `${service}: ${word}`);
    });
    expect(missing).toEqual([]);
  });
});

describe('decisions', () => {
  const files = repositoryFiles().filter((path) => /^docs\/decisions\/\d{4}-/.test(path));
  const numberOf = (path: string): string => path.slice(DECISIONS.length + 1, DECISIONS.length + 5);
  const index = read(`${DECISIONS}/README.md`);

  it('are numbered from 0001 without gaps', () => {
    expect(files.length).toBeGreaterThan(5);
    expect(files.map(numberOf)).toEqual(files.map((_, at) => String(at + 1).padStart(4, '0')));
  });

  it('are all in the index, under their own titles', () => {
    const missing = files.filter((path) => {
      const title = /^# (\d{4}): (.+)$/m.exec(read(path));
      const row = index.split('\n').find((line) => line.includes(`(${posix.basename(path)})`));
      return title?.[1] !== numberOf(path) || row?.includes(title[2] ?? '?') !== true;
    });
    expect(missing).toEqual([]);
    expect([...index.matchAll(/\]\((\d{4}-[\w-]+\.md)\)/g)]).toHaveLength(files.length);
  });

  it('have a status, a context, a decision, its consequences, the alternatives, and who verifies it', () => {
    const incomplete = files.flatMap((path) => {
      const text = read(path);
      const parts = ['## Context', '## Decision', '## Consequences', '## Alternatives', '## Verified by'];
      const missing = parts.filter((part) => !text.includes(`\n${part}`));
      return /^Status: (proposed|accepted|superseded by \d{4})/m.test(text)
        ? missing.map((part) => `${path}: ${part}`)
        : [`${path}: Status`];
    });
    expect(incomplete).toEqual([]);
  });

  it('that the sources and documents cite exist', () => {
    const sources = [...moduleFiles(), ...repositoryFiles().filter((path) => /\.(sql|md)$/.test(path))];
    const cited = sources.flatMap((path) =>
      [...read(path).matchAll(/docs\/decisions\/(\d{4})\b/g)].map(([, number]) => ({ path, number })),
    );
    expect(cited.length).toBeGreaterThan(2);
    expect(cited.filter(({ number }) => !files.some((path) => numberOf(path) === number))).toEqual([]);
  });
});
