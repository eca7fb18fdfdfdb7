// npm run sim -- [--seed N] [--runs K] [--seconds S] [--mutations] [--trace FILE]
//
// Runs the deterministic simulation (test/simulation/, docs/reliability.md): K runs from seed N on (default: 1,000 from 1), or as many as fit into S
// seconds. Ends with 1 at the first broken rule, with the seed, the last events and the command that repeats it. `--mutations`: a table of
// hand-made bugs, and how many runs it took to find each. `--trace FILE`: every event of one run, one a line.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { singleObjectCodec } from '#lib/contracts/codec.ts';
import { huntMutations } from '../test/simulation/hunt.ts';
import { failureReport, mutationTable, Tally } from '../test/simulation/report.ts';
import { runSimulation } from '../test/simulation/run-simulation.ts';

/** A mutation that is not found within so many runs is not found. */
const HUNT_RUNS = 1_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    runs: { type: 'string', default: '1000' },
    seconds: { type: 'string' },
    trace: { type: 'string' },
    mutations: { type: 'boolean', default: false },
  },
});
const say = (text: string): boolean => process.stdout.write(`${text}\n`);

process.on('unhandledRejection', (error) => {
  process.stderr.write(`a promise of the code under test was rejected and nobody looked: ${String(error)}\n`);
  process.exit(1);
});
process.exitCode = values.mutations ? await mutations() : await simulate();

async function simulate(): Promise<number> {
  const first = wholeNumber('seed', values.seed);
  const runs = values.trace === undefined ? wholeNumber('runs', values.runs) : 1;
  const seconds = values.seconds === undefined ? Infinity : wholeNumber('seconds', values.seconds);
  const limit = values.seconds === undefined ? runs : Infinity;
  const codec = singleObjectCodec();
  const tally = new Tally();
  const lines: string[] = [];
  const beganAt = performance.now();
  const elapsed = (): number => (performance.now() - beganAt) / 1_000;
  for (let seed = first; seed < first + limit && elapsed() < seconds; seed++) {
    const traced = values.trace === undefined ? {} : { onTrace: (line: string): void => void lines.push(line) };
    const result = await runSimulation(seed, { codec, ...traced });
    tally.add(result);
    if (result.violation !== null) {
      if (values.trace !== undefined) writeFileSync(values.trace, lines.join('\n'));
      say(failureReport(result));
      return 1;
    }
  }
  if (values.trace !== undefined) writeFileSync(values.trace, lines.join('\n'));
  say(tally.report(elapsed()));
  return 0;
}

async function mutations(): Promise<number> {
  const hunts = await huntMutations({ firstSeed: wholeNumber('seed', values.seed), runs: HUNT_RUNS });
  say(mutationTable(hunts));
  return hunts.every((hunt) => hunt.foundBy !== null) ? 0 : 1;
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} is not a whole number: ${text}`);
  return value;
}
