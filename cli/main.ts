#!/usr/bin/env node
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { ConfigError } from '#lib/service/config.ts';
import { type Command, commandHelp, parseOptions, programHelp, UsageError } from './command.ts';

/** In the order of the help. Only the one that runs is loaded: the supervisor lives as long as the platform, and needs a third of all this. */
const COMMANDS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['demo', async () => (await import('./demo/command.ts')).demoCommand],
  [
    'start',
    async () => (await import('./start/command.ts')).startCommandOf((await import('./start/services.ts')).SERVICES),
  ],
  ['status', async () => (await import('./status/command.ts')).statusCommand],
  ['migrate', async () => (await import('./migrate-command.ts')).migrateCommand],
  ['dlq', async () => (await import('./dlq/command.ts')).dlqCommand],
  ['upgrade-check', async () => (await import('./upgrade-check-command.ts')).upgradeCheckCommand],
]);
/** EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64;
/** EX_CONFIG. */
const EXIT_CONFIG = 78;

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(programHelp(await Promise.all([...COMMANDS.values()].map((load) => load()))));
    return name === undefined ? EXIT_USAGE : 0;
  }
  try {
    const load = COMMANDS.get(name);
    if (load === undefined)
      throw new UsageError(`unknown command ${name}; there are: ${[...COMMANDS.keys()].join(', ')}`);
    const command = await load();
    const options = parseOptions(command, args);
    if (options !== null) return await command.run(options, process.env);
    process.stdout.write(commandHelp(command));
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`trainyard: ${error.message}\n`);
      return EXIT_USAGE;
    }
    if (error instanceof ConfigError) {
      process.stderr.write(`trainyard: the configuration is wrong\n${error.message.replaceAll(/^/gm, '  ')}\n`);
      return EXIT_CONFIG;
    }
    if (!(error instanceof TrainyardError)) throw error;
    process.stderr.write(`trainyard: ${error.code}: ${messageOf(error)}\n`);
    return 1;
  }
}
