import { relative, resolve } from 'node:path';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { type Command, type Environment, type OptionValues, UsageError } from '../command.ts';
import { homeFolder } from '../start/command.ts';
import { homeAt } from '../start/home.ts';
import { PROFILE_OPTION, portsOf } from '../start/profile.ts';
import { type DemoConsole, demoConsole } from './console.ts';
import { DEFAULT_BUDGET } from './demo-jobs.ts';
import { freshDemoHome } from './demo-home.ts';
import { JobNotCompleted } from './follow-job.ts';
import { unmetClaims } from './report.ts';
import { ApiProblem } from './rest-client.ts';
import { type DemoOutcome, runDemo } from './run-demo.ts';
import { summary } from './summary.ts';

/** `trainyard demo`: two real trainings from a REST call to a registered model, and what came out. Exit code 0 only when both are COMPLETED. */
export const demoCommand: Command = {
  name: 'demo',
  summary: 'starts the platform, trains, evaluates and registers two small language models, and shows what came out',
  options: [
    { name: 'json', summary: 'the results as one JSON document on standard output; progress goes to standard error' },
    { name: 'home', value: '<folder>', summary: 'where all data lies (default: a fresh folder below .trainyard/demo)' },
    PROFILE_OPTION,
    { name: 'keep', summary: 'the next demo does not delete this one’s folder' },
    {
      name: 'base-steps',
      value: '<n>',
      summary: `training steps of the base model; for tests (default ${DEFAULT_BUDGET.baseSteps})`,
    },
    {
      name: 'lora-steps',
      value: '<n>',
      summary: `training steps of the adapter; for tests (default ${DEFAULT_BUDGET.loraSteps})`,
    },
  ],
  run,
};

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** 128 + SIGINT, as a shell says it. */
const EXIT_INTERRUPTED = 130;
const LOG_LINES_SHOWN = 50;

async function run(options: OptionValues, environment: Environment): Promise<number> {
  const asJson = options.flag('json');
  const budget = {
    baseSteps: stepsFrom(options, 'base-steps', DEFAULT_BUDGET.baseSteps),
    loraSteps: stepsFrom(options, 'lora-steps', DEFAULT_BUDGET.loraSteps),
  };
  const stopping = stopRequest();
  const console = demoConsole(asJson ? process.stderr : process.stdout, environment);
  const given = options.text('home');
  const home =
    given === undefined ? await freshDemoHome({ keep: options.flag('keep'), now: new Date() }) : resolve(given);
  try {
    const ports = await demoPorts(options, environment);
    const outcome = await runDemo({ home, environment, budget, console, signal: stopping, ports });
    if (asJson) await written(process.stdout, `${JSON.stringify(outcome.report, null, 2)}\n`);
    else showSummary(console, outcome);
    const unmet = unmetClaims(outcome.report, budget);
    for (const claim of unmet) console.say(`not as promised: ${claim}`, 'bad');
    return unmet.length === 0 ? 0 : 1;
  } catch (error) {
    if (stopping.aborted) {
      console.say('stopped; nothing runs any more');
      return EXIT_INTERRUPTED;
    }
    if (!isExpected(error)) throw error;
    for (const line of failure(error, homeAt(home).logs)) console.say(line, 'bad');
    return 1;
  }
}

/** Topics of its own: a demo begins with an empty database, and must not meet the messages of the one before. */
async function demoPorts(options: OptionValues, environment: Environment): Promise<Readonly<Record<string, string>>> {
  const ports = await portsOf(options.text('profile'), environment, homeFolder(options, environment));
  return ports['BUS_URL'] === undefined ? {} : { TOPIC_PREFIX: `demo-${Date.now()}.`, ...ports };
}

function stepsFrom(options: OptionValues, name: string, byDefault: number): number {
  const text = options.text(name);
  if (text === undefined) return byDefault;
  const steps = Number(text);
  if (!/^\d{1,7}$/.test(text) || steps < 1)
    throw new UsageError(`--${name} must be a whole number from 1, not ${text}`);
  return steps;
}

/** Aborts at the first signal. Ctrl-C arrives both from the terminal and from npm; further ones change nothing, the stop is bounded. */
function stopRequest(): AbortSignal {
  const request = new AbortController();
  for (const signal of STOP_SIGNALS) process.on(signal, () => request.abort(new Error(`stopped by ${signal}`)));
  return request.signal;
}

function showSummary(console: DemoConsole, { report, records }: DemoOutcome): void {
  const curves = records.map((record) => record.curves);
  console.print(summary(report, curves, console.columns));
}

type Expected = TrainyardError | ApiProblem | JobNotCompleted;
const isExpected = (error: unknown): error is Expected =>
  error instanceof TrainyardError || error instanceof ApiProblem || error instanceof JobNotCompleted;

/** Code, message, the end of the training program's output, and where to look. */
function failure(error: Expected, logs: string): string[] {
  const tail = error instanceof JobNotCompleted ? error.logTail.slice(-LOG_LINES_SHOWN) : [];
  return [
    `${error.code}: ${messageOf(error)}`,
    ...(tail.length === 0 ? [] : ['the last lines of its log:', ...tail.map((line) => `  ${line}`)]),
    `logs of the services: ${relative('', logs)}`,
  ];
}

/** A pipe takes 64 KiB at a time; exiting before the rest is out would cut the document. */
function written(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((done) => stream.write(text, () => done()));
}
