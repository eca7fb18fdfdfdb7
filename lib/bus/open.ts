import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database } from '#lib/postgres/database.ts';
import { PostgresBus } from './postgres-bus.ts';

/** The bus that BUS_URL names. Throws for a scheme this release has no adapter for, naming the variable. */
export function openBus(url: string, options: { readonly database: Database }): PostgresBus {
  if (url === 'postgres:') return new PostgresBus({ database: options.database });
  throw new TrainyardError('ValidationFailed', `BUS_URL: no bus for ${url.split(':')[0]}:, use postgres:`);
}
