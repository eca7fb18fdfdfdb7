import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger };

/** Fields that never reach a log line, wherever a caller puts them (one level deep is what pino can match cheaply). */
const SECRETS = ['authorization', 'password', 'apiKey', 'secret', 'token', 'DATABASE_URL'];

/** JSON lines on stdout, written synchronously: the last line before a crash is the one that matters. */
export function createLogger(options: {
  readonly service: string;
  readonly level: string;
  readonly destination?: DestinationStream;
}): Logger {
  return pino(
    {
      level: options.level,
      base: { service: options.service, pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRETS.flatMap((name) => [name, `*.${name}`, `*.headers.${name}`]),
        censor: '[redacted]',
      },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

/** A URL without its password and query, for logs. */
export function displayUrl(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null) return '[not a URL]';
  parsed.password = '';
  parsed.search = '';
  return parsed.href;
}
