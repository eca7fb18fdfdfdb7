import { installOnce, type PeerCache } from './cache.ts';
import { PINS } from './pins.ts';
import { buildPythonEnvironment } from './python.ts';

/** Optuna, which a test compares the pruning strategies with (`optuna.test.ts`); not a server, and nothing of Trainyard runs it. */
export const installOptuna = (cache: PeerCache): Promise<string> =>
  installOnce(cache, {
    name: `optuna-${PINS.optuna}`,
    description: `Optuna ${PINS.optuna} by pip (100 MB, under a minute, once)`,
    build: async (folder) => {
      const packages = [`optuna==${PINS.optuna}`, `numpy==${PINS.numpy}`];
      await buildPythonEnvironment(cache, folder, { what: `Optuna ${PINS.optuna}`, oldestMinor: 11, packages });
    },
  });
