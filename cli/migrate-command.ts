import { migrateMessaging } from '#lib/messaging/migrate.ts';
import { MessagingConfig } from '#lib/messaging/variables.ts';
import { Database } from '#lib/postgres/database.ts';
import { migrate } from '#lib/postgres/migrate.ts';
import { readConfig, VARIABLES } from '#lib/service/config.ts';
import { Type } from '#typebox';
import type { Command, Environment } from './command.ts';

const MigrateConfig = Type.Object({ DATABASE_URL: VARIABLES.DATABASE_URL, ...MessagingConfig.properties });

/** `trainyard migrate`: the deploy step before new services start. Services create nothing themselves on Kafka and in the schema registry. */
export const migrateCommand: Command = {
  name: 'migrate',
  summary:
    'brings database, topics and schemas to this release (DATABASE_URL, BUS_URL, SCHEMA_REGISTRY_URL); run it before new services start',
  options: [],
  run: (_, environment) => run(environment),
};

async function run(environment: Environment): Promise<number> {
  const config = readConfig(MigrateConfig, environment);
  const database = new Database({ url: config.DATABASE_URL, applicationName: 'trainyard-migrate', maxConnections: 2 });
  try {
    await database.check();
    const { applied, version } = await migrate(database);
    print(`database: version ${version}, ${applied.length} migrations applied`);
    const messaging = await migrateMessaging(config, database);
    if (messaging === null) print('bus: embedded, nothing to do');
    else print(`kafka: ${messaging.topics} topics; schema registry: ${messaging.schemas.length} subjects`);
    return 0;
  } finally {
    await database.close();
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
