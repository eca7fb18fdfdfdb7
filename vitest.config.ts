import { defineConfig } from 'vitest/config';

const HEAVY = ['test/e2e/**/*.test.ts'];
/** Need a server of another make (Kafka, MLflow ...); skipped with a printed reason where there is none. */
const PEERS = ['lib/**/*.peer.test.ts', 'test/peers/**/*.test.ts'];
const DATABASE = ['test/integration/**/*.test.ts', 'lib/{bus,postgres,model-registry}/**/*.test.ts'];

export default defineConfig({
  test: {
    // Two cores: more workers than that only makes timings worse.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{lib,services,cli,scripts}/**/*.test.ts', 'test/{architecture,replay,simulation}/**/*.test.ts'],
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
          fileParallelism: false,
          globalSetup: ['test/support/database-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'e2e',
          sequence: { groupOrder: 3 },
          include: HEAVY,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
