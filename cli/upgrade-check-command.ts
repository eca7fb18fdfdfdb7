import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Type } from '#typebox';
import { readConfig, VARIABLES } from '#lib/service/config.ts';
import type { Command, Environment, OptionValues } from './command.ts';

/** A program of the orchestrator, since only that knows the machines; the command line starts it as a process, like every service. */
const PROGRAM = join(import.meta.dirname, '../services/orchestrator/upgrade-check/main.ts');

/**
 * `trainyard upgrade-check`: the step of a deploy before `migrate`. Exit codes: 0 this code can take over, 1 a workflow would differ or get
 * stuck, 69 the database cannot be read, 78 its URL is wrong.
 */
export const upgradeCheckCommand: Command = {
  name: 'upgrade-check',
  summary:
    'replays every open workflow of a live database on this code, read-only: what would change state, differ or get stuck; exit code 1 then',
  options: [
    { name: 'against', value: '<postgresql://...>', summary: 'the database; default: DATABASE_URL' },
    { name: 'json', summary: 'one JSON document on standard output' },
  ],
  run,
};

async function run(options: OptionValues, environment: Environment): Promise<number> {
  const url = options.text('against') ?? environment['DATABASE_URL'];
  // Checked here, so that a wrong one is reported like that of every other command.
  const config = readConfig(Type.Object({ DATABASE_URL: VARIABLES.DATABASE_URL }), { DATABASE_URL: url });
  const child = spawn(process.execPath, [PROGRAM, ...(options.flag('json') ? ['--json'] : [])], {
    // The URL may hold a password: other users of the machine see arguments, not variables.
    env: { ...environment, DATABASE_URL: config.DATABASE_URL },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
