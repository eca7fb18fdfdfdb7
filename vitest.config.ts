import { defineConfig } from 'vitest/config';

const HEAVY = ['test/e2e/**/*.test.ts'];
const DATABASE = ['test/integration/**/*.test.ts', 'lib/{bus,postgres,model-registry,promotion}/**/*.test.ts'];
/** They need a Kafka, a schema registry, an S3 server or MLflow: test/support/peers. */
const PEERS = ['test/peers/**/*.test.ts', '{lib,test/chaos}/**/*.peer.test.ts'];

export default defineConfig({
  test: {
    // Two cores: more workers than that only makes timings worse.
    maxWorkers: 2,
    server: { deps: { external: [/lib\/vendor\//] } },
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{lib,services,cli,scripts}/**/*.test.ts',
            'test/{architecture,chaos,replay,simulation,support}/**/*.test.ts',
          ],
          exclude: ['**/node_modules/**', ...DATABASE, ...PEERS],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'database',
          // One kind after the other: real processes with heartbeats must not compete with everything else for two cores.
          sequence: { groupOrder: 1 },
          include: DATABASE,
          exclude: ['**/node_modules/**', ...PEERS],
          globalSetup: ['test/support/database-setup.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'peers',
          sequence: { groupOrder: 2 },
          include: PEERS,
          globalSetup: ['test/support/database-setup.ts', 'test/support/peers/setup.ts'],
          // Java, Python and the platform itself in one file: two files at once, and brokers and leases are late.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'e2e',
          sequence: { groupOrder: 3 },
          include: HEAVY,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
