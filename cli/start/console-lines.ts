import { assertNever } from '#lib/kernel/errors.ts';
import type { PlatformEvent, ProcessExit } from './platform-event.ts';

const NAME_WIDTH = 14;

/** One line for a person who watches, or null for what is not worth one. */
export function consoleLine(event: PlatformEvent, now: Date): string | null {
  switch (event.type) {
    case 'leftover_found':
      return line(event.name, `process ${event.pid} is left from an earlier run; waiting for it to stop`);
    case 'database_migrated':
      return line('database', migrations(event.result.applied.length, event.result.version));
    case 'messaging_migrated':
      return line('kafka', `${event.result.topics} topics, ${event.result.schemas.length} schemas registered`);
    case 'process_started':
      return null;
    case 'process_ready':
      return line(event.name, `ready after ${seconds(event.afterMs)} (process ${event.pid})`);
    case 'process_crashed':
      // The time is what one needs to find the place in a log.
      return line(
        event.name,
        `${ending(event.exit)} after ${seconds(event.afterMs)} at ${now.toISOString()}; ${event.restartInMs === null ? 'given up' : `starts again in ${seconds(event.restartInMs)}`}`,
      );
    case 'process_hung':
      return line(event.name, `gave no sign of life for ${seconds(event.silentMs)} (${event.reason}): killed`);
    case 'process_stopped':
      return line(event.name, event.killed ? 'did not stop in time: killed' : 'stopped');
    default:
      return assertNever(event);
  }
}

const line = (name: string, text: string): string => `  ${name.padEnd(NAME_WIDTH)} ${text}`;
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(ms < 1_000 ? 2 : 1)} s`;

const migrations = (applied: number, version: number): string =>
  applied === 0 ? `up to date (version ${version})` : `${applied} migrations applied (version ${version})`;

function ending({ code, signal, error }: ProcessExit): string {
  if (error !== undefined) return `failed (${error.split('\n')[0]})`;
  return signal === null ? `ended with exit code ${code}` : `ended by ${signal}`;
}
