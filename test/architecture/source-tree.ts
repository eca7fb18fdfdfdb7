import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** A checker that saw fewer source files than this looked in the wrong place. */
export const FEWEST_FILES = 50;

/** One `import` or `export ... from` of a module. */
export interface Import {
  /** Repository path of the importing file. */
  readonly from: string;
  /** Repository path for `./x`, `../x` and `#lib/x`; else the package's name or `node:x`. */
  readonly target: string;
  readonly isFile: boolean;
  /** Erased before the module runs. */
  readonly typeOnly: boolean;
}

/** Repository paths of all files that are tracked or would be: what is ignored does not count. */
export function repositoryFiles(): string[] {
  const output = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 1_024 * 1_024,
  });
  const files = [...new Set(output.split('\0'))].filter((path) => path !== '' && existsSync(join(ROOT, path)));
  return files.sort();
}

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Program text: TypeScript, the plain JavaScript of the bootstrap, SQL migrations. Dot files at the top are settings or scratch. */
export const sourceFiles = (): string[] =>
  repositoryFiles().filter((path) => /\.(ts|mjs|sql)$/.test(path) && !path.startsWith('.'));

export const moduleFiles = (): string[] => sourceFiles().filter((path) => !path.endsWith('.sql'));

/** Tests, the suites they share, and what only they use: they may reach across layers. */
export const isTest = (path: string): boolean =>
  path.startsWith('test/') ||
  /\.(test|contract|child)\.(ts|mjs)$/.test(path) ||
  path.endsWith('-harness.ts') ||
  /\/(contract|test-support)\//.test(path);

export const productModules = (): string[] => moduleFiles().filter((path) => !isTest(path));

export const markdownFiles = (): string[] => repositoryFiles().filter((path) => path.endsWith('.md'));

export const importsOf = (path: string): Import[] => importsIn(path, read(path));

/** Every static import, re-export and `import('...')` with a literal in the text of the file `path`. */
export function importsIn(path: string, source: string): Import[] {
  const text = withoutComments(source);
  const found: Import[] = [];
  for (const [, keyword = '', clause = '', specifier = ''] of text.matchAll(STATIC_IMPORT))
    found.push(resolved(path, specifier, isErased(keyword, clause)));
  for (const [, specifier = ''] of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g))
    found.push(resolved(path, specifier, false));
  return found;
}

const STATIC_IMPORT = /^(import|export)\s+([^'"`;]*?\bfrom\s+)?['"]([^'"]+)['"]/gm;

/** True when every name of the clause is marked as a type. */
function isErased(keyword: string, clause: string): boolean {
  if (/^type\s/.test(clause)) return true;
  const names = /^\{([^}]*)\}\s*from/
    .exec(clause)?.[1]
    ?.split(',')
    .map((name) => name.trim());
  return keyword === 'import' && names !== undefined && names.every((name) => name === '' || name.startsWith('type '));
}

function resolved(from: string, specifier: string, typeOnly: boolean): Import {
  if (specifier.startsWith('#lib/')) return { from, target: `lib/${specifier.slice(5)}`, isFile: true, typeOnly };
  if (specifier.startsWith('.'))
    return { from, target: posix.normalize(posix.join(posix.dirname(from), specifier)), isFile: true, typeOnly };
  return { from, target: packageOf(specifier), isFile: false, typeOnly };
}

/** `@scope/name/part` -> `@scope/name`; `name/part` -> `name`, also with `#` before it; `node:x` stays. */
function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Comments become blanks, line breaks stay. Good enough for our formatted code: no regular expression of ours contains a comment mark. */
export function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
    .replaceAll(/^\s*\/\/.*$|\s\/\/ .*$/gm, '');
}
