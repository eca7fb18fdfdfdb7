import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import { type MlflowCredentials, parseMlflowUrl } from './mlflow-address.ts';
import { MlflowModelRegistry } from './mlflow-registry.ts';
import type { ModelRegistry } from './port.ts';
import { PostgresModelRegistry } from './postgres-registry.ts';

export interface OpenModelRegistryOptions {
  readonly database: Database;
  /** Of MLflow; they win over those in the URL. */
  readonly credentials?: MlflowCredentials;
  /** Address of an object for MLflow's `source`; null: it has none that MLflow knows. See `artifactAddress`. */
  readonly artifactUri?: (key: string) => string | null;
}

/**
 * The model registry that a URL names: `postgres:` is the built-in one in the platform's own database,
 * `mlflow+http(s)://[user:password@]host[:port][/path][?namespace=name]` an MLflow 3 server. Touches nothing yet (`check()` does).
 * Throws `ValidationFailed` with the name of the variable, for a start-up message.
 */
export function openModelRegistry(url: string, options: OpenModelRegistryOptions): ModelRegistry {
  const { database, credentials, artifactUri } = options;
  if (url === 'postgres:') return new PostgresModelRegistry(database);
  if (/^mlflow\+https?:\/\//.test(url))
    return new MlflowModelRegistry({
      ...parseMlflowUrl(url, credentials),
      database,
      ...(artifactUri === undefined ? {} : { artifactUri }),
    });
  // The URL may hold a password, so it is not repeated.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0] ?? 'none';
  const reason = `the scheme is ${scheme}, supported are postgres: (exactly so: the platform's own database), mlflow+http: and mlflow+https:`;
  throw new TrainyardError('ValidationFailed', `MODEL_REGISTRY_URL cannot be used: ${reason}`, {
    fields: [{ pointer: '/MODEL_REGISTRY_URL', message: reason }],
  });
}
