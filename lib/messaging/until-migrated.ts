import type { Database } from '#lib/postgres/database.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import type { ServiceContext } from '#lib/service/lifecycle.ts';
import { untilReachable } from '#lib/service/until-reachable.ts';

/** Waits for the database and applies what it lacks; from then on `/readyz` asks it. Throws when its migrations are not this release's. */
export async function untilMigrated(
  service: Pick<ServiceContext<unknown>, 'readiness' | 'logger' | 'signal'>,
  database: Database,
): Promise<void> {
  await untilReachable(service, 'database', async () => {
    await database.check();
    await migrate(database);
  });
  service.readiness.add('database', () => database.check());
}
