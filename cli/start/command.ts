import { resolve } from 'node:path';
import { collectWhenQuiet } from '#lib/service/quiet-collector.ts';
import { type Command, type Environment, type OptionValues, UsageError } from '../command.ts';
import { consoleLine } from './console-lines.ts';
import { PROFILE_OPTION, portsOf } from './profile.ts';
import { DEFAULT_GATEWAY_PORT, type Platform, startPlatform } from './platform.ts';
import type { ServiceDefinition } from './services.ts';

/** `trainyard start`: keeps the platform running until SIGINT, SIGTERM or SIGHUP. Tests give services of their own. */
export const startCommandOf = (services: readonly ServiceDefinition[]): Command => ({
  name: 'start',
  summary: 'starts the platform on this machine and keeps it running until Ctrl-C',
  options: [
    {
      name: 'home',
      value: '<folder>',
      summary: 'where all data lies (TRAINYARD_HOME; default .trainyard in the project)',
    },
    {
      name: 'gateway-port',
      value: '<port>',
      summary: 'port of REST API and docs (GATEWAY_PORT; default 8080; 0: a free one)',
    },
    {
      name: 'database-url',
      value: '<url>',
      summary: 'a PostgreSQL 15 or newer of your own instead of the embedded one',
    },
    PROFILE_OPTION,
    {
      name: 'log-level',
      value: '<level>',
      summary: 'trace, debug, info, warn, error or fatal (LOG_LEVEL; default info)',
    },
  ],
  run: (options, environment) => run(services, options, environment),
});

const PROJECT_ROOT = resolve(import.meta.dirname, '../..');
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** The folder that holds everything: option, else TRAINYARD_HOME, else `.trainyard` in the project. */
export function homeFolder(options: OptionValues, environment: Environment): string {
  return resolve(
    options.text('home') ?? nonEmpty(environment['TRAINYARD_HOME']) ?? resolve(PROJECT_ROOT, '.trainyard'),
  );
}

async function run(
  services: readonly ServiceDefinition[],
  options: OptionValues,
  environment: Environment,
): Promise<number> {
  const home = homeFolder(options, environment);
  const gatewayPort = portFrom(options.text('gateway-port') ?? nonEmpty(environment['GATEWAY_PORT']));
  const logLevel = levelFrom(options.text('log-level') ?? nonEmpty(environment['LOG_LEVEL']));
  const databaseUrl = options.text('database-url');
  const ports = await portsOf(options.text('profile'), environment, home);
  const stopping = stopRequest();
  print(`Trainyard starts; its data lies in ${home}`);
  let platform: Platform;
  try {
    platform = await startPlatform({
      home,
      environment,
      services,
      gatewayPort,
      logLevel,
      ports,
      ...(databaseUrl === undefined ? {} : { databaseUrl }),
      signal: stopping,
      onEvent: (event) => {
        const line = consoleLine(event, new Date());
        if (line !== null) print(line);
      },
    });
  } catch (error) {
    if (!stopping.aborted) throw error;
    print('stopped before everything was ready');
    return 0;
  }
  print(welcome(platform));
  collectWhenQuiet();
  if (!stopping.aborted) await new Promise((wake) => stopping.addEventListener('abort', wake, { once: true }));
  print(`stopping (${String(stopping.reason)}): workers save their checkpoints first`);
  const begunAt = performance.now();
  await platform.stop();
  print(`everything is stopped, after ${seconds(performance.now() - begunAt)}`);
  return 0;
}

/**
 * Aborts at the first signal, with its name as the reason. Further ones change nothing: Ctrl-C arrives both from the terminal and from npm,
 * and the stop is bounded anyway. A terminal that went away (SIGHUP) must not end us by a failed write.
 */
function stopRequest(): AbortSignal {
  const request = new AbortController();
  for (const signal of STOP_SIGNALS) process.on(signal, () => request.abort(signal));
  process.stdout.on('error', () => undefined);
  return request.signal;
}

function welcome({ gatewayUrl, adminKeyFile, home }: Platform): string {
  return [
    '',
    'Trainyard is ready.',
    `  Gateway    ${gatewayUrl}`,
    `  API docs   ${gatewayUrl}/docs`,
    `  Admin key  ${adminKeyFile}`,
    `  Logs       ${home.logs}`,
    'Ctrl-C stops it; the next start goes on with the jobs that were in flight.',
    '',
  ].join('\n');
}

function portFrom(text: string | undefined): number {
  if (text === undefined) return DEFAULT_GATEWAY_PORT;
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new UsageError(`the gateway port must be 0 to 65535, not ${text}`);
  return port;
}

function levelFrom(text: string | undefined): string {
  if (text === undefined || LOG_LEVELS.includes(text)) return text ?? 'info';
  throw new UsageError(`the log level must be one of ${LOG_LEVELS.join(', ')}, not ${text}`);
}

const nonEmpty = (text: string | undefined): string | undefined => (text === '' ? undefined : text);
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
