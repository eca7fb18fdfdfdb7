// node scripts/bootstrap.mjs scripts/chaos.ts [options]   (npm run chaos)
//
// Runs jobs on a platform of real processes while its parts are killed, stopped and cut off at random moments, and checks from the outside that
// nothing was lost or done twice (docs/reliability.md). The seed decides the jobs, the faults and their order; how they meet is the machine's.
// Exit codes: 0 every invariant held, 1 one did not (or something could not be started), 64 wrong command line.
// oxlint-disable no-restricted-properties -- a composition root: this script is the program
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '#lib/kernel/errors.ts';
import { faultGroups, type FaultKind, kindsOn, TARGETS } from '../test/chaos/fault-plan.ts';
import { reportText } from '../test/chaos/report-text.ts';
import { runChaos } from '../test/chaos/run-chaos.ts';

const USAGE = `usage: npm run chaos -- [options]
  --minutes N    how long faults are injected (default 10)
  --jobs N       jobs in flight (default 50)
  --seed N       of an earlier run (default: a new one)
  --bus B        kafka (default) or postgres
  --nodes N      brokers: 1 (default) or 3
  --store S      s3 (default) or file
  --registry R   mlflow (default) or postgres
  --only K,K     faults to inject, e.g. 'gpu-worker kill,kafka outage' (default: all)
  --slots N      training programs of a GPU worker at once (default 4)
  --json         the report as JSON on standard output
  --keep         keep the folder with data and logs`;

const OPTIONS = {
  minutes: { type: 'string', default: '10' },
  jobs: { type: 'string', default: '50' },
  seed: { type: 'string' },
  bus: { type: 'string', default: 'kafka' },
  nodes: { type: 'string', default: '1' },
  store: { type: 'string', default: 's3' },
  registry: { type: 'string', default: 'mlflow' },
  only: { type: 'string' },
  slots: { type: 'string', default: '4' },
  json: { type: 'boolean', default: false },
  keep: { type: 'boolean', default: false },
} as const;

/** Jobs alone for so long first: what things take when nothing is wrong. */
const CALM_MS = 15_000;
/** Fifty jobs, some of them in their third attempt. */
const DRAIN_MS = 180_000;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let plan: ReturnType<typeof planOf>;
  try {
    plan = planOf(args);
  } catch (error) {
    say(`${messageOf(error)}\n${USAGE}`);
    return 64;
  }
  const { values, seed, kinds, minutes, jobs, site } = plan;
  const again = args.filter((arg, at) => arg !== '--seed' && args[at - 1] !== '--seed' && !arg.startsWith('--seed='));
  say(`seed ${seed}; the same again: npm run chaos -- ${[...again, `--seed ${seed}`].join(' ')}`);
  const folder = await mkdtemp(join(tmpdir(), 'trainyard-chaos-'));
  try {
    const report = await runChaos({
      site: { ...site, folder, environment: process.env },
      seed,
      jobs,
      faults: ({ targets }) =>
        faultGroups(
          seed,
          kindsOn(targets).filter((kind) => kinds === null || kinds.includes(kind)),
        ),
      forMs: minutes * 60_000,
      calmMs: CALM_MS,
      drainMs: DRAIN_MS,
      say,
    });
    process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : `\n${reportText(report)}`);
    return report.violations.length === 0 ? 0 : 1;
  } catch (error) {
    say(messageOf(error));
    return 1;
  } finally {
    if (values.keep) say(`data and logs: ${folder}`);
    else await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Throws for what cannot be meant. */
function planOf(args: readonly string[]) {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const number = (name: 'minutes' | 'jobs' | 'slots' | 'seed', text: string): number => {
    const value = Number(text);
    if (!(value > 0) || (name !== 'minutes' && !Number.isInteger(value)))
      throw new Error(`--${name} must be a number above 0, not ${text}`);
    return value;
  };
  const oneOf = <T extends string>(name: string, text: string, allowed: readonly T[]): T => {
    const found = allowed.find((each) => each === text);
    if (found === undefined) throw new Error(`--${name} must be one of ${allowed.join(', ')}, not ${text}`);
    return found;
  };
  const known = kindsOn(TARGETS);
  const kinds = values.only?.split(',').map((kind): FaultKind => oneOf('only', kind.trim(), known)) ?? null;
  return {
    values,
    kinds,
    seed: values.seed === undefined ? randomInt(1, 2 ** 31) : number('seed', values.seed),
    minutes: number('minutes', values.minutes),
    jobs: number('jobs', values.jobs),
    site: {
      bus: oneOf('bus', values.bus, ['kafka', 'postgres']),
      kafkaNodes: oneOf('nodes', values.nodes, ['1', '3']) === '3' ? (3 as const) : (1 as const),
      schemaRegistryUrl: null,
      store: oneOf('store', values.store, ['s3', 'file']),
      registry: oneOf('registry', values.registry, ['mlflow', 'postgres']),
      twins: true,
      gpuSlots: number('slots', values.slots),
      missedProbes: 11,
    },
  };
}

function say(line: string): void {
  process.stderr.write(`chaos: ${line}\n`);
}
