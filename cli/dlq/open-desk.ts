import { userInfo } from 'node:os';
import { Type } from '#typebox';
import type { Bus } from '#lib/bus/port.ts';
import type { Codec } from '#lib/contracts/codec.ts';
import { TrainyardError } from '#lib/kernel/errors.ts';
import { openMessagingOnce } from '#lib/messaging/open-once.ts';
import { MessagingConfig } from '#lib/messaging/variables.ts';
import { Database } from '#lib/postgres/database.ts';
import { runningServerUrl } from '#lib/postgres/embedded-address.ts';
import { readConfig, VARIABLES } from '#lib/service/config.ts';
import type { Environment, OptionValues } from '../command.ts';
import { homeFolder } from '../start/command.ts';
import { homeAt } from '../start/home.ts';
import { portsOf } from '../start/profile.ts';
import { Letters } from './letters.ts';

export interface Desk {
  readonly bus: Bus;
  readonly codec: Codec;
  readonly letters: Letters;
  close(): Promise<void>;
}

const DeskConfig = Type.Object({ DATABASE_URL: VARIABLES.DATABASE_URL, ...MessagingConfig.properties });

/**
 * Opens database and bus of the platform that is meant: the one of the environment's DATABASE_URL, or, with `--home` or without that variable, the
 * one that runs on a home of this machine. Throws `ServiceUnavailable` where none runs, `DatabaseIncompatible` for one of an older release.
 */
export async function openDesk(options: OptionValues, environment: Environment): Promise<Desk> {
  const config = readConfig(DeskConfig, await variables(options, environment));
  const database = new Database({ url: config.DATABASE_URL, applicationName: 'trainyard-dlq', maxConnections: 3 });
  try {
    await database.check();
    await requireTable(database);
    const { bus, codec } = await openMessagingOnce(config, 'dlq', database);
    const close = async (): Promise<void> => {
      await bus.close();
      await database.close();
    };
    return { bus, codec, letters: new Letters(database), close };
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function variables(options: OptionValues, environment: Environment): Promise<Environment> {
  const given = environment['DATABASE_URL'] ?? '';
  const [home, profile] = [options.text('home'), options.text('profile')];
  if (given !== '' && home === undefined && profile === undefined) return environment;
  const folder = homeFolder(options, environment);
  const url = given !== '' && home === undefined ? given : await runningServerUrl(homeAt(folder).postgresData);
  if (url === null)
    throw new TrainyardError(
      'ServiceUnavailable',
      `no platform with a database of its own runs on ${folder}: start it (npm start), or set DATABASE_URL, BUS_URL and so on`,
    );
  return { ...(await portsOf(profile, environment, folder)), DATABASE_URL: url };
}

async function requireTable(database: Database): Promise<void> {
  const { rows } = await database.query<{ found: boolean }>(`select to_regclass('dead_letters') is not null as found`);
  if (rows[0]?.found === true) return;
  throw new TrainyardError(
    'DatabaseIncompatible',
    'the database has no table dead_letters: bring it to this release first (npm run migrate)',
  );
}

/** Who is at work, for the record: `--by`, else the account. */
export const operator = (options: OptionValues): string => options.text('by') ?? userInfo().username;
