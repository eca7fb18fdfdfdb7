import { expect, it } from 'vitest';
import {
  FEWEST_FILES,
  moduleFiles,
  productModules,
  read,
  repositoryFiles,
  sourceFiles,
  withoutComments,
} from './source-tree.ts';

const MOST_LINES = 400;

/** Words that say where code was put, not what it is. */
const EMPTY_WORDS = ['util', 'utils', 'helper', 'helpers', 'common', 'manager', 'misc', 'stuff'];

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

it('more than 50 source files are looked at', () => {
  expect(sourceFiles().length).toBeGreaterThan(FEWEST_FILES);
});

it('no source file has more than 400 lines', () => {
  const long = sourceFiles().map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }));
  const tooLong = long.filter(({ path, lines }) => lines > MOST_LINES && !path.includes('/generated/'));
  expect(tooLong).toEqual([]);
});

it('files are named in kebab-case, migrations by number and underscores', () => {
  const wrong = sourceFiles().filter((path) => {
    const name = nameOf(path);
    return name.endsWith('.sql')
      ? !/^\d{4}_[a-z0-9]+(_[a-z0-9]+)*\.sql$/.test(name)
      : !/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|peer\.test|contract|child|config))?\.(ts|mjs)$/.test(name);
  });
  expect(wrong).toEqual([]);
});

it('files are named after a concept, never utils, helpers, types, common or manager', () => {
  const wrong = sourceFiles().filter((path) => {
    const base = nameOf(path).replace(/\..*$/, '');
    return base === 'types' || base.split('-').some((word) => EMPTY_WORDS.includes(word));
  });
  expect(wrong).toEqual([]);
});

it('migrations are numbered from 0001 without gaps', () => {
  const numbers = sourceFiles()
    .filter((path) => path.startsWith('lib/postgres/migrations/'))
    .map((path) => Number(nameOf(path).slice(0, 4)));
  expect(numbers.length).toBeGreaterThan(4);
  expect(numbers).toEqual(numbers.map((_, at) => at + 1));
});

it('exports have names, and no module keeps a state of its own', () => {
  // A main.ts, a script and a bench are the program: their state is the program's.
  const modules = productModules().filter((path) => !path.endsWith('/main.ts') && !/^(scripts|bench)\//.test(path));
  expect(modules.length).toBeGreaterThan(FEWEST_FILES);
  const wrong = modules.flatMap((path) =>
    withoutComments(read(path))
      .split('\n')
      .flatMap((line, at) =>
        /^(export )?let /.test(line) || (line.startsWith('export default ') && !path.endsWith('.config.ts'))
          ? [`${path}:${at + 1}: ${line}`]
          : [],
      ),
  );
  expect(wrong).toEqual([]);
});

it('a suppressed check gives its reason', () => {
  const mark = new RegExp(
    ['oxlint-disable', 'eslint-disable', '@ts-expect-error', '@ts-ignore', '@ts-nocheck', 'biome-ignore'].join('|'),
  );
  const lines = moduleFiles()
    .filter((path) => !path.startsWith('test/architecture/'))
    .flatMap((path) =>
      read(path)
        .split('\n')
        .map((line, at) => ({ at: `${path}:${at + 1}`, line })),
    )
    .filter(({ line }) => mark.test(line));
  expect(lines.length).toBeGreaterThan(0);
  // `-- reason` for oxlint, `: reason` for Biome, words after the mark for the compiler; `ignore` hides mistakes that are not there.
  const reasoned = (line: string): boolean =>
    /(oxlint|eslint)-disable\S*( [\w/,-]+)* -- \S.{7,}/.test(line) ||
    /biome-ignore \w+: \S.{5,}/.test(line) ||
    /@ts-expect-error[ :-]+\S.{7,}/.test(line);
  expect(lines.filter(({ line }) => !reasoned(line))).toEqual([]);
});

it('nothing names a machine’s own folders or a package registry’s host', () => {
  // In parts, so that this file does not name them.
  const forbidden = [
    ['', 'work', ''],
    ['', 'root', ''],
    ['', 'tmp', 'bash_jobs'],
  ].map((parts) => parts.join('/'));
  forbidden.push(...['npmjs.org', 'yarnpkg.com'].map((host) => `registry.${host}`));
  const files = repositoryFiles().filter((path) => !/\.(br|gz|zst|png|safetensors|onnx|svg)$/.test(path));
  expect(files.length).toBeGreaterThan(FEWEST_FILES);
  const wrong = files.flatMap((path) => {
    const text = read(path);
    return forbidden.filter((each) => text.includes(each)).map((each) => `${path} names ${each}`);
  });
  expect(wrong).toEqual([]);
});
