import { describe, expect, it } from 'vitest';
import { homeAt } from './home.ts';
import { SERVICES, type ServiceDefinition, type ServiceSettings, serviceEnvironment } from './services.ts';

const settings: ServiceSettings = {
  home: homeAt('/data/my home'),
  databaseUrl: 'postgresql://ours',
  inferencePort: 8_090,
  ports: {},
  logLevel: 'warn',
  stopTimeoutMs: 6_000,
  inherited: {
    PATH: '/bin',
    HOST: 'my-laptop',
    DATABASE_URL: 'postgresql://of-another-project',
    GATEWAY_PORT: '8080',
    HEALTH_PORT: '1',
    npm_config_registry: 'x',
    ABSENT: undefined,
  },
  overrides: { '*': { LEASE_TTL_MS: '1', SHARED: 'all' }, gateway: { SHARED: 'gateway' } },
};
const named = (name: string): ServiceDefinition => {
  const found = SERVICES.find((service) => service.name === name);
  if (found === undefined) throw new Error(name);
  return found;
};

describe('the environment of a service', () => {
  it('is the table over what is inherited, and never a variable that other programs use too', () => {
    expect(serviceEnvironment(named('cpu-worker'), 4_001, settings)).toEqual({
      PATH: '/bin',
      SUPERVISED: '1',
      MALLOC_ARENA_MAX: '1',
      HOST: '127.0.0.1',
      HEALTH_PORT: '4001',
      DATABASE_URL: 'postgresql://ours',
      BUS_URL: 'postgres:',
      OBJECT_STORE_URL: 'file:///data/my%20home/objects',
      MODEL_REGISTRY_URL: 'postgres:',
      WORKSPACE_DIR: '/data/my home/workspace',
      TRAINYARD_HOME: '/data/my home',
      LOG_LEVEL: 'warn',
      STOP_TIMEOUT_MS: '6000',
      LEASE_TTL_MS: '1',
      SHARED: 'all',
    });
  });

  it('gives the gateway its public port, the key file, and no second server', () => {
    const environment = serviceEnvironment(named('gateway'), 9_000, settings);
    expect(environment).toMatchObject({ GATEWAY_PORT: '9000', ADMIN_KEY_FILE: '/data/my home/admin.key' });
    expect(environment).not.toHaveProperty('HEALTH_PORT');
  });

  it('leads the gateway to the door of the GPU worker, and nobody else', () => {
    expect(serviceEnvironment(named('gateway'), 1, settings)['INFERENCE_URL']).toBe('http://127.0.0.1:8090');
    expect(serviceEnvironment(named('gpu-worker'), 1, settings)['INFERENCE_PORT']).toBe('8090');
    expect(serviceEnvironment(named('orchestrator'), 1, settings)).not.toHaveProperty('INFERENCE_PORT');
  });

  it('lets the overrides of one service win over those of all', () => {
    expect(serviceEnvironment(named('gateway'), 1, settings)['SHARED']).toBe('gateway');
  });
});
