import { relative, resolve } from 'node:path';
import { messageOf, TrainyardError } from '#lib/kernel/errors.ts';
import { type Command, type Environment, type OptionValues, UsageError } from '../command.ts';
import { homeFolder } from '../start/command.ts';
import { homeAt } from '../start/home.ts';
import { PROFILE_OPTION, portsOf } from '../start/profile.ts';
import { type DemoConsole, demoConsole } from './console.ts';
import { DEFAULT_BUDGET } from './demo-jobs.ts';
import { freshDemoHome } from './demo-home.ts';
import type { PlatformSetting } from './demo-platform.ts';
import { evalVariant } from './eval-variant.ts';
import { hpoVariant } from './hpo-variant.ts';
import { JobNotCompleted } from './follow-job.ts';
import { unmetClaims } from './report.ts';
import { ApiProblem } from './rest-client.ts';
import { retrainVariant } from './retrain-variant.ts';
import { rlhfVariant } from './rlhf-variant.ts';
import { runDemo } from './run-demo.ts';
import { runVariant } from './run-variant.ts';
import { summary } from './summary.ts';
import { wholeNumber } from './whole-number.ts';
import type { Variant } from './variant.ts';

const VARIANTS: readonly Variant[] = [evalVariant, hpoVariant, rlhfVariant, retrainVariant];

/** `trainyard demo`: real jobs from a REST call to a registered model, and what came out. Exit code 0 only when all ended as they have to. */
export const demoCommand: Command = {
  name: 'demo',
  summary: 'starts the platform, trains, evaluates and registers two small language models, and shows what came out',
  forms: VARIANTS.map((variant) => [variant.name, variant.summary]),
  operands: ['', ...VARIANTS.map(({ name }) => name)],
  options: [
    { name: 'json', summary: 'the results as one JSON document on standard output; progress goes to standard error' },
    {
      name: 'home',
      value: '<folder>',
      summary: 'where all data lies (default: a fresh folder in TRAINYARD_HOME/demo)',
    },
    PROFILE_OPTION,
    { name: 'keep', summary: 'the next demo does not delete this one’s folder' },
    {
      name: 'base-steps',
      value: '<n>',
      summary: `training steps of the base model; for tests (default ${DEFAULT_BUDGET.baseSteps}; less in the other demos)`,
    },
    {
      name: 'lora-steps',
      value: '<n>',
      summary: `training steps of the adapter; for tests (default ${DEFAULT_BUDGET.loraSteps})`,
    },
    ...VARIANTS.flatMap(({ options }) => options),
  ],
  run,
};

/** Options that take a whole number. */
const NUMBERS = ['base-steps', 'lora-steps', 'trial-steps', 'seeds'];
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** 128 + SIGINT, as a shell says it. */
const EXIT_INTERRUPTED = 130;
const LOG_LINES_SHOWN = 50;

/** What a demo leaves for the end, once its platform has stopped. */
interface Ended {
  readonly report: object;
  readonly show: (console: DemoConsole) => void;
  readonly unmet: readonly string[];
}

async function run(options: OptionValues, environment: Environment): Promise<number> {
  const variant = chosenVariant(options);
  const asJson = options.flag('json');
  const stopping = stopRequest();
  const console = demoConsole(asJson ? process.stderr : process.stdout, environment);
  const given = options.text('home');
  const home =
    given === undefined
      ? await freshDemoHome({ below: homeFolder(options, environment), keep: options.flag('keep'), now: new Date() })
      : resolve(given);
  try {
    const ports = await demoPorts(options, environment);
    const setting = { home, environment, console, signal: stopping, ports };
    const { report, show, unmet } = await (variant === null
      ? theDemo(setting, options)
      : theVariant(variant, setting, options));
    if (asJson) await written(process.stdout, `${JSON.stringify(report, null, 2)}\n`);
    else show(console);
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

/** Null: the demo without a name. Throws `UsageError` for an unknown one and for an option that belongs to another one. */
function chosenVariant(options: OptionValues): Variant | null {
  const [name, ...more] = options.operands;
  const variant = VARIANTS.find((candidate) => candidate.name === name) ?? null;
  if (more.length > 0 || (name !== undefined && variant === null))
    throw new UsageError(
      `there are the demos ${VARIANTS.map((known) => known.name).join(', ')}, and the one without a name`,
    );
  for (const other of VARIANTS)
    for (const option of other.options)
      if (
        other !== variant &&
        !variant?.options.includes(option) &&
        (options.text(option.name) !== undefined || options.flag(option.name))
      )
        throw new UsageError(`--${option.name} belongs to the demo ${other.name}`);
  // Before anything is started.
  for (const name of NUMBERS) wholeNumber(options, name, 1);
  return variant;
}

async function theDemo(setting: PlatformSetting, options: OptionValues): Promise<Ended> {
  const budget = {
    baseSteps: wholeNumber(options, 'base-steps', DEFAULT_BUDGET.baseSteps),
    loraSteps: wholeNumber(options, 'lora-steps', DEFAULT_BUDGET.loraSteps),
  };
  const { report, records } = await runDemo({ ...setting, budget });
  const curves = records.map((record) => record.curves);
  return {
    report,
    show: (console) => console.print(summary(report, curves, console.columns)),
    unmet: unmetClaims(report, budget),
  };
}

async function theVariant(variant: Variant, setting: PlatformSetting, options: OptionValues): Promise<Ended> {
  const { report, summary: lines, unmet } = await runVariant(variant, setting, options);
  return { report, show: (console) => console.print(lines(console.columns)), unmet };
}

/** Topics of its own: a demo begins with an empty database, and must not meet the messages of the one before. */
async function demoPorts(options: OptionValues, environment: Environment): Promise<Readonly<Record<string, string>>> {
  const ports = await portsOf(options.text('profile'), environment, homeFolder(options, environment));
  return ports['BUS_URL'] === undefined ? {} : { TOPIC_PREFIX: `demo-${Date.now()}.`, ...ports };
}

/** Aborts at the first signal. Ctrl-C arrives both from the terminal and from npm; further ones change nothing, the stop is bounded. */
function stopRequest(): AbortSignal {
  const request = new AbortController();
  for (const signal of STOP_SIGNALS) process.on(signal, () => request.abort(new Error(`stopped by ${signal}`)));
  return request.signal;
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
