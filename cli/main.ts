#!/usr/bin/env node
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { ConfigError } from '#lib/service/config.ts';
import { type Command, commandHelp, parseOptions, programHelp, UsageError } from './command.ts';
import { demoCommand } from './demo/command.ts';
import { dlqCommand } from './dlq/command.ts';
import { migrateCommand } from './migrate-command.ts';
import { startCommandOf } from './start/command.ts';
import { SERVICES } from './start/services.ts';
import { statusCommand } from './status/command.ts';
import { upgradeCheckCommand } from './upgrade-check-command.ts';

const COMMANDS: readonly Command[] = [
  demoCommand,
  startCommandOf(SERVICES),
  statusCommand,
  migrateCommand,
  dlqCommand,
  upgradeCheckCommand,
];
/** EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64;
/** EX_CONFIG. */
const EXIT_CONFIG = 78;

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(programHelp(COMMANDS));
    return name === undefined ? EXIT_USAGE : 0;
  }
  try {
    const command = COMMANDS.find((candidate) => candidate.name === name);
    if (command === undefined)
      throw new UsageError(`unknown command ${name}; there are: ${COMMANDS.map((known) => known.name).join(', ')}`);
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
