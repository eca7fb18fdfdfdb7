import { expect, it } from 'vitest';
import {
  FEWEST_FILES,
  type Import,
  importsIn,
  importsOf,
  isTest,
  productModules,
  read,
  sourceFiles,
  withoutComments,
} from './source-tree.ts';

/** Every room of the house. A file elsewhere is a decision: add the room here and to docs/architecture.md. */
const ROOMS: readonly RegExp[] = [
  /^services\/(gateway|orchestrator|cpu-worker|gpu-worker|drift-monitor)\/(main|config)\.ts$/,
  /^services\/(gateway|orchestrator|cpu-worker|gpu-worker|drift-monitor)\/(domain|app|adapters)\//,
  // The data pipeline of the CPU lane: files and threads around the pure domain. The training program: a process of its own.
  /^services\/cpu-worker\/data\//,
  /^services\/gpu-worker\/(trainer|serving)\//,
  // Another program of the orchestrator, with its own composition root.
  /^services\/orchestrator\/upgrade-check\/(main|report)\.ts$/,
  /^lib\/(kernel|search-space|statistics|contracts|bus|postgres|object-store|model-registry|promotion|serving|messaging|service|text|datasets|worker)\//,
  /^cli\/[^/]+\.ts$/,
  /^cli\/(start|status|demo|dlq)\//,
  /^test\/(architecture|chaos|simulation|replay|integration|peers|e2e|support)\//,
  /^(bench|scripts)\//,
  /^vitest\.config\.ts$/,
];

/** Folders of `lib/` that a folder of `lib/` may import, besides itself; a type is always free. */
const LIB: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  'search-space': ['kernel'],
  statistics: ['kernel'],
  text: ['kernel'],
  contracts: ['kernel', 'search-space', 'statistics'],
  datasets: ['kernel', 'text', 'contracts'],
  'object-store': ['kernel'],
  service: ['kernel'],
  postgres: ['kernel'],
  bus: ['kernel', 'postgres'],
  'model-registry': ['kernel', 'postgres'],
  promotion: ['kernel', 'postgres', 'model-registry'],
  serving: ['kernel', 'contracts', 'postgres'],
  messaging: ['kernel', 'contracts', 'bus', 'postgres', 'service'],
  worker: ['kernel', 'contracts', 'bus', 'postgres', 'object-store', 'model-registry', 'messaging', 'service'],
};

/** Who may load a package when the program runs. A package that is not listed may be loaded by nobody. */
const PACKAGES: Readonly<Record<string, readonly RegExp[]>> = {
  '@aws-sdk/client-s3': [/^lib\/object-store\//],
  xstate: [/^services\/orchestrator\/domain\//],
  avsc: [/^lib\/contracts\//],
  pg: [/^lib\/postgres\//],
  kafkajs: [/^lib\/bus\/kafka\//],
  '@kafkajs/confluent-schema-registry': [/^lib\/messaging\//],
  pino: [/^lib\/service\//],
  'prom-client': [/^lib\/(service|messaging|worker)\//, /^services\/[^/]+\/(main\.ts|adapters\/)/],
  fastify: [/^services\/gateway\/adapters\//],
  '@fastify/helmet': [/^services\/gateway\/adapters\//],
  '@fastify/rate-limit': [/^services\/gateway\/adapters\//],
  '@fastify/swagger': [/^services\/gateway\/adapters\//],
  '@fastify/swagger-ui': [/^services\/gateway\/adapters\//],
  'onnxruntime-node': [/^services\/gpu-worker\/trainer\//],
  // The bundle in lib/vendor; the package itself is loaded by nobody.
  '#typebox': [/./],
  rolldown: [/^scripts\/typebox-bundle\.ts$/],
  vitest: [/^vitest\.config\.ts$/],
};

const product = productModules();
const imports = product.flatMap(importsOf);

const serviceOf = (path: string): string | null => /^services\/([^/]+)\//.exec(path)?.[1] ?? null;
const layerOf = (path: string): string | null => /^services\/[^/]+\/([^/]+)\//.exec(path)?.[1] ?? null;
const show = (wrong: readonly Import[]): string[] => wrong.map(({ from, target }) => `${from} -> ${target}`);

it('more than 50 modules and their imports are looked at', () => {
  expect(product.length).toBeGreaterThan(FEWEST_FILES);
  expect(imports.length).toBeGreaterThan(5 * FEWEST_FILES);
  expect(imports.filter((each) => each.typeOnly).length).toBeGreaterThan(FEWEST_FILES);
});

it('every form of import is seen, and whether it outlives the types', () => {
  const text = `import type { A } from './a.ts';
import { type B, type C } from '../domain/b.ts';
import { type D, e } from '#lib/kernel/e.ts';
import {
  f,
} from 'pg';
// import { g } from 'commented';
import 'node:fs';
export { h } from './h.ts';
const i = await import('@fastify/helmet');`;
  expect(
    importsIn('services/x/app/y.ts', text).map(({ target, typeOnly }) => `${target}${typeOnly ? ' type' : ''}`),
  ).toEqual([
    'services/x/app/a.ts type',
    'services/x/domain/b.ts type',
    'lib/kernel/e.ts',
    'pg',
    'node:fs',
    'services/x/app/h.ts',
    '@fastify/helmet',
  ]);
});

it('every source file lies in a room of the house', () => {
  expect(sourceFiles().filter((path) => !ROOMS.some((room) => room.test(path)))).toEqual([]);
});

it('a domain knows its own service’s domain, the kernel, search spaces, the statistics, the contracts, the rules for documents and state machines, nothing else', () => {
  const domain = imports.filter(({ from }) => layerOf(from) === 'domain');
  expect(domain.length).toBeGreaterThan(30);
  const wrong = domain.filter(({ from, target, isFile }) =>
    isFile
      ? !target.startsWith(`services/${serviceOf(from)}/domain/`) &&
        !/^lib\/(kernel|search-space|statistics|contracts|datasets\/documents)\//.test(target)
      : target !== 'xstate' && target !== '#typebox',
  );
  expect(show(wrong)).toEqual([]);
});

it('a domain is a function of its arguments: no clock, no chance, no input or output, nothing asynchronous', () => {
  const files = product.filter(
    (path) => layerOf(path) === 'domain' || /^lib\/(kernel|search-space|statistics|datasets\/documents)\//.test(path),
  );
  expect(files.length).toBeGreaterThan(20);
  const impure =
    /\b(async|await)\b|\bnew Date\(\)|\bDate\.now\b|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\b|\bprocess\.|\bfetch\(|\bconsole\./;
  const wrong = files.flatMap((path) =>
    withoutComments(read(path))
      .split('\n')
      .flatMap((line, at) => (impure.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : [])),
  );
  expect(wrong).toEqual([]);
});

it('app loads no adapter of its service when it runs: it gets them from main.ts', () => {
  const wrong = imports.filter(
    ({ from, target, typeOnly }) => layerOf(from) === 'app' && layerOf(target) === 'adapters' && !typeOnly,
  );
  expect(show(wrong)).toEqual([]);
});

it('services never import each other, and nothing shared imports a service', () => {
  const wrong = imports.filter(({ from, target, isFile }) => {
    const other = isFile ? serviceOf(target) : null;
    if (other === null || serviceOf(from) === other) return false;
    return serviceOf(from) !== null || /^(lib|cli)\//.test(from);
  });
  expect(show(wrong)).toEqual([]);
});

it('the product imports no test, bench or script, and a service no command', () => {
  const wrong = imports.filter(
    ({ from, target, isFile }) =>
      isFile &&
      /^(services|lib|cli)\//.test(from) &&
      (isTest(target) || /^(bench|scripts)\//.test(target) || (!from.startsWith('cli/') && target.startsWith('cli/'))),
  );
  expect(show(wrong)).toEqual([]);
});

it('the shared folders form layers: each loads only those below it', () => {
  const folder = (path: string): string | null => /^lib\/([^/]+)\//.exec(path)?.[1] ?? null;
  const wrong = imports.filter(({ from, target, isFile, typeOnly }) => {
    const [own, other] = [folder(from), isFile ? folder(target) : null];
    return own !== null && other !== null && own !== other && !typeOnly && LIB[own]?.includes(other) !== true;
  });
  expect(show(wrong)).toEqual([]);
});

it('the kernel is pure: it imports itself and no module of Node', () => {
  const kernel = imports.filter(({ from }) => from.startsWith('lib/kernel/'));
  expect(show(kernel.filter(({ target }) => !target.startsWith('lib/kernel/')))).toEqual([]);
});

it('the statistics are pure: they import themselves, the kernel and schemas', () => {
  const statistics = imports.filter(({ from }) => from.startsWith('lib/statistics/'));
  expect(statistics.length).toBeGreaterThan(10);
  const wrong = statistics.filter(
    ({ target, isFile }) =>
      (!isFile && target !== '#typebox') || (isFile && !/^lib\/(kernel|statistics)\//.test(target)),
  );
  expect(show(wrong)).toEqual([]);
});

it('the rules for documents are pure: they import themselves and the kernel; of contracts only types', () => {
  const documents = imports.filter(({ from }) => from.startsWith('lib/datasets/documents/'));
  expect(documents.length).toBeGreaterThan(4);
  const wrong = documents.filter(
    ({ target, typeOnly }) => !typeOnly && !/^lib\/(kernel|datasets\/documents)\//.test(target),
  );
  expect(show(wrong)).toEqual([]);
});

it('a package is loaded only where it belongs', () => {
  const wrong = imports.filter(({ from, target, isFile, typeOnly }) => {
    if (isFile || target.startsWith('node:') || typeOnly || /^(bench|scripts)\//.test(from)) return false;
    return PACKAGES[target]?.some((place) => place.test(from)) !== true;
  });
  expect(show(wrong)).toEqual([]);
});

it('every module of Node is imported as node:…, so that no package can take its place', () => {
  const builtins = new Set([
    'fs',
    'path',
    'os',
    'crypto',
    'child_process',
    'http',
    'net',
    'url',
    'stream',
    'util',
    'events',
    'buffer',
    'zlib',
  ]);
  expect(show(imports.filter(({ target, isFile }) => !isFile && builtins.has(target)))).toEqual([]);
});

it('nothing that lives long imports node:http: lib/service/node-http.ts has it without the 11 MB that come along', () => {
  const wrong = imports.filter(
    ({ from, target, typeOnly }) => /^node:https?$/.test(target) && !typeOnly && !/^(bench|scripts)\//.test(from),
  );
  expect(show(wrong)).toEqual([]);
});

it('only main.ts reads the environment of the process', () => {
  const readers = product.filter((path) => /\bprocess\.env\b/.test(withoutComments(read(path))));
  expect(readers.length).toBeGreaterThanOrEqual(5);
  // Scripts and benches are programs themselves: they have no main.ts.
  expect(readers.filter((path) => !path.endsWith('/main.ts') && !/^(scripts|bench)\//.test(path))).toEqual([]);
});

it('every imported file exists', () => {
  const all = new Set(sourceFiles());
  expect(show(imports.filter(({ target, isFile }) => isFile && !target.endsWith('.json') && !all.has(target)))).toEqual(
    [],
  );
});
