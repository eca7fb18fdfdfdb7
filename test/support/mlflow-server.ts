import { messageOf } from '#lib/kernel/errors.ts';
import { PeerUnavailable } from '../../scripts/peers/cache.ts';
import { installMlflow } from '../../scripts/peers/mlflow.ts';
import { defaultCache } from '../../scripts/peers/start-options.ts';
import { addressOf, peer } from './peers/peer.ts';

export interface MlflowServer {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** A Python that has MLflow's client. Throws where there is none: see `missingMlflowClient`. */
  python(): Promise<string>;
}

/** Why no MLflow can be had here; null when one can. */
export async function missingMlflow(): Promise<string | null> {
  const state = await peer('mlflow');
  return state.available ? null : state.reason;
}

/** Why nothing here can run MLflow's Python client; null when something can. */
export async function missingMlflowClient(): Promise<string | null> {
  const missing = await missingMlflow();
  if (missing !== null) return missing;
  try {
    await installMlflow(defaultCache());
    return null;
  } catch (error) {
    if (error instanceof PeerUnavailable) return messageOf(error);
    throw error;
  }
}

/** The MLflow of this test run; suites share it and keep apart by namespaces. */
export async function mlflowServer(): Promise<MlflowServer> {
  const { url } = addressOf(await peer('mlflow'));
  return { url, python: async () => (await installMlflow(defaultCache())).python };
}
