import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { type Database, isConnectionError } from '#lib/postgres/database.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import { untilReachable } from '#lib/service/until-reachable.ts';

/** Waits for the database and applies what it lacks; from then on `/readyz` asks it. Throws when its migrations are not this release's. */
export async function untilMigrated(
  service: Pick<ServiceContext<unknown>, 'readiness' | 'logger' | 'signal'>,
  database: Database,
): Promise<void> {
  const component = { name: 'database', variable: 'DATABASE_URL' };
  await untilReachable(service, component, async () => {
    await database.check();
    try {
      await migrate(database);
    } catch (error) {
      // It went away again between the two.
      if (isConnectionError(error)) throw new TrainyardError('ServiceUnavailable', messageOf(error), { cause: error });
      throw error;
    }
  });
  service.readiness.add('database', () => database.check(), component.variable);
}
