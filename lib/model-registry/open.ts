import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import type { ModelRegistry } from './port.ts';
import { PostgresModelRegistry } from './postgres-registry.ts';

/**
 * The model registry that a URL names: `postgres:` is the built-in one in the platform's own database. Touches nothing yet
 * (`check()` does). Throws `ValidationFailed` with the name of the variable, for a start-up message.
 */
export function openModelRegistry(url: string, platform: { readonly database: Database }): ModelRegistry {
  if (url === 'postgres:') return new PostgresModelRegistry(platform.database);
  // The URL may hold a password, so it is not repeated.
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(url)?.[0] ?? 'none';
  const reason = `the scheme is ${scheme}, only postgres: (exactly so: the platform's own database) is supported`;
  throw new TrainyardError('ValidationFailed', `MODEL_REGISTRY_URL cannot be used: ${reason}`, {
    fields: [{ pointer: '/MODEL_REGISTRY_URL', message: reason }],
  });
}
