import { describe, expect, it } from 'vitest';
import { CpuWorkerConfig } from '../../services/cpu-worker/config.ts';
import { DriftMonitorConfig } from '../../services/drift-monitor/config.ts';
import { GatewayConfig } from '../../services/gateway/config.ts';
import { GpuWorkerConfig } from '../../services/gpu-worker/config.ts';
import { OrchestratorConfig } from '../../services/orchestrator/config.ts';
import { markdownFiles, read, repositoryFiles } from './source-tree.ts';

const CONFIGS = [GatewayConfig, OrchestratorConfig, CpuWorkerConfig, GpuWorkerConfig, DriftMonitorConfig];

interface Variable {
  readonly default?: string | number | boolean;
  readonly description?: string;
}

const variables = new Map<string, Variable>(
  CONFIGS.flatMap((config) => Object.entries(config.properties) as unknown as [string, Variable][]),
);

/** `NAME=value` of `.env.example`; a `#` before it means that the default holds. */
const example = new Map(
  [...read('.env.example').matchAll(/^#? ?([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name = '', value = '']) => [
    name,
    value.trim(),
  ]),
);

describe('the environment', () => {
  it('of every service is in .env.example, and nothing else is', () => {
    expect(variables.size).toBeGreaterThan(20);
    expect([...example.keys()].sort()).toEqual([...variables.keys()].sort());
  });

  it('is shown there with the defaults that hold', () => {
    const wrong = [...variables].filter(
      ([name, { default: value }]) => value !== undefined && example.get(name) !== String(value),
    );
    expect(wrong.map(([name, { default: value }]) => `${name} is ${String(value)} by default`)).toEqual([]);
  });

  it('says what each variable means', () => {
    expect([...variables].filter(([, { description }]) => description === undefined).map(([name]) => name)).toEqual([]);
  });

  it('that the Dockerfile of the services sets is one of ours', () => {
    // docker-compose.yml: compose.test.ts. What lies below docker/ is the image of a peer.
    const files = repositoryFiles().filter((path) => /^(services\/.*)?Dockerfile[^/]*$/.test(path));
    expect(files).toContain('Dockerfile');
    const set = files.flatMap((path) =>
      [...read(path).matchAll(/^(?:ENV\s+|\s+(?:- )?)([A-Z][A-Z0-9_]+)[=:]/gm)].map(([, name = '']) => ({
        path,
        name,
      })),
    );
    const ofTools = ['NODE_ENV', 'ONNXRUNTIME_NODE_INSTALL'];
    expect(set.filter(({ name }) => !variables.has(name) && !ofTools.includes(name))).toEqual([]);
  });
});

describe('Node', () => {
  it('runs these tests in version 24', () => {
    expect(process.versions.node.split('.')[0]).toBe('24');
  });

  it('has the same major version wherever it is named', () => {
    const manifest = JSON.parse(read('package.json')) as {
      engines: { node: string };
      optionalDependencies: Record<string, string>;
      devDependencies: Record<string, string>;
    };
    const binaries = Object.entries(manifest.optionalDependencies).filter(([name]) => name.startsWith('node-'));
    expect(binaries.length).toBeGreaterThan(1);
    const named = {
      '.nvmrc': read('.nvmrc').trim(),
      engines: manifest.engines.node.replace('>=', ''),
      '@types/node': manifest.devDependencies['@types/node'],
      Dockerfile: /^FROM node:([\d.]+)/m.exec(read('Dockerfile'))?.[1],
      bootstrap: /NODE_MAJOR = (\d+)/.exec(read('scripts/bootstrap.mjs'))?.[1],
      ...Object.fromEntries(binaries),
    };
    expect(Object.entries(named).filter(([, version]) => version?.split('.')[0] !== '24')).toEqual([]);
  });

  it('is called Node 24 in the documents; an older one only where its own version is the subject', () => {
    const lines = markdownFiles().flatMap((path) =>
      read(path)
        .split('\n')
        .map((line) => ({ path, line })),
    );
    const others = lines.filter(({ line }) => /\bNode(\.js)? v?(?!24)\d\d\b/.test(line));
    expect(others.filter(({ line }) => !/system|or newer|or later|bare/i.test(line))).toEqual([]);
    expect(lines.some(({ line }) => /\bNode 24\b/.test(line))).toBe(true);
  });
});

describe('package-lock.json', () => {
  it('names no registry: `npm ci` asks the one that is configured', () => {
    const lock = JSON.parse(read('package-lock.json')) as {
      packages: Record<string, { resolved?: string; integrity?: string }>;
    };
    const packages = Object.entries(lock.packages).filter(([name]) => name !== '');
    expect(packages.length).toBeGreaterThan(50);
    expect(packages.filter(([, entry]) => entry.resolved !== undefined)).toEqual([]);
    expect(packages.filter(([, entry]) => entry.integrity === undefined)).toEqual([]);
  });
});
