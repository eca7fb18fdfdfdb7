import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Benchmark } from './support/benchmark.ts';
import { machineBusyMs, machineKind, requireLinux } from './support/machine.ts';
import { median, print, printTable } from './support/report.ts';

const PROGRAM = resolve(import.meta.dirname, '../cli/main.ts');
/** EX_USAGE: this release has no such command. */
const EXIT_USAGE = 64;

export const demo: Benchmark = {
  name: 'demo',
  summary: 'wall time of `npm run demo` by phase, without the installation',
  options: { rounds: { standard: 1, summary: 'demos, one after the other' } },
  run: async (options) => {
    requireLinux();
    print(`demo\n${machineKind()}\n`);
    const rounds: Round[] = [];
    for (let round = 0; round < options.number('rounds'); round++) {
      const result = await oneDemo();
      if (result === null) return print('skipped: this release has no command `trainyard demo`');
      rounds.push(result);
    }
    const phases = rounds[0]?.phases.map(({ name }) => name) ?? [];
    const rows = phases.map((phase, at) => ({ phase, ...columns(rounds, ({ phases }) => phases[at]?.seconds) }));
    printTable([
      ...rows,
      { phase: 'process start to exit', ...columns(rounds, ({ seconds }) => seconds) },
      { phase: 'cores busy, whole machine', ...columns(rounds, ({ cores }) => cores) },
    ]);
  },
};

interface Round {
  readonly seconds: number;
  readonly cores: number;
  readonly phases: readonly { readonly name: string; readonly seconds: number }[];
}

/** Null when the command does not exist. */
async function oneDemo(): Promise<Round | null> {
  const home = await mkdtemp(join(tmpdir(), 'trainyard-bench-'));
  const began = performance.now();
  const busyMs = machineBusyMs();
  try {
    const child = spawn(process.execPath, [PROGRAM, 'demo', '--json', '--home', home], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    const output = await text(child.stdout);
    const [code] = (await exited) as [number | null];
    if (code === EXIT_USAGE) return null;
    if (code !== 0) throw new Error(`the demo ended with ${code}: ${output.slice(0, 2_000)}`);
    const seconds = (performance.now() - began) / 1_000;
    const { phases } = JSON.parse(output) as Pick<Round, 'phases'>;
    return { seconds, cores: (machineBusyMs() - busyMs) / (seconds * 1_000), phases };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

function columns(rounds: readonly Round[], value: (round: Round) => number | undefined): Record<string, string> {
  const values = rounds.map((round) => value(round) ?? Number.NaN);
  const each = values.map((seconds, at) => [`round ${at + 1}`, seconds.toFixed(2)] as const);
  return { 'median s': median(values).toFixed(2), ...(rounds.length > 1 ? Object.fromEntries(each) : {}) };
}
