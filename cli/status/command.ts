import type { Command, Environment, OptionValues } from '../command.ts';
import { homeFolder } from '../start/command.ts';
import { homeAt } from '../start/home.ts';
import { lockOwner } from '../start/home-lock.ts';
import { recordedProcesses } from '../start/process-record.ts';
import { probe } from '../start/readiness-probe.ts';
import { SERVICES } from '../start/services.ts';

interface ProcessStatus {
  readonly name: string;
  readonly pid: number;
  readonly ready: boolean;
  readonly reason: string | null;
}

/** EX_UNAVAILABLE-like: nothing runs, or something is not ready. */
const EXIT_NOT_READY = 1;

/** `trainyard status`: what runs on a home, asked of the processes themselves. Exit code 0 when all are ready. */
export const statusCommand: Command = {
  name: 'status',
  summary: 'shows the processes of the platform that runs on a home and whether they are ready',
  options: [
    { name: 'home', value: '<folder>', summary: 'TRAINYARD_HOME; default .trainyard in the project' },
    { name: 'json', summary: 'one JSON document instead of lines' },
  ],
  run,
};

async function run(options: OptionValues, environment: Environment): Promise<number> {
  const home = homeAt(homeFolder(options, environment));
  const supervisor = await lockOwner(home.lockFile);
  const processes = supervisor === null ? [] : await statuses(home.recordFile);
  if (options.flag('json')) process.stdout.write(`${JSON.stringify({ home: home.root, supervisor, processes })}\n`);
  else process.stdout.write(lines(home.root, supervisor, processes));
  return supervisor !== null && processes.every((entry) => entry.ready) ? 0 : EXIT_NOT_READY;
}

function statuses(recordFile: string): Promise<ProcessStatus[]> {
  return Promise.all(
    recordedProcesses(recordFile).map(async ({ name, pid, readyUrl }) => {
      // PostgreSQL has no such page: it is recorded only while it answers, and every service checks it.
      const service = SERVICES.find((definition) => definition.name === name)?.service;
      const { ready, reason } = readyUrl === null ? { ready: true, reason: '' } : await probe(readyUrl, { service });
      return { name, pid, ready, reason: ready ? null : reason };
    }),
  );
}

function lines(home: string, supervisor: number | null, processes: readonly ProcessStatus[]): string {
  if (supervisor === null) return `no platform runs on ${home}\n`;
  const rows = processes.map(
    ({ name, pid, ready, reason }) =>
      `  ${name.padEnd(14)} process ${pid}  ${ready ? 'ready' : `not ready: ${reason}`}`,
  );
  return `${[`platform on ${home} (supervisor: process ${supervisor})`, ...rows].join('\n')}\n`;
}
