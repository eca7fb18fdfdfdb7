import { readFile } from 'node:fs/promises';
import type { Site } from './site.ts';

export interface LoggedTrouble {
  readonly service: string;
  readonly level: string;
  readonly message: string;
  readonly count: number;
}

export interface ServiceLogs {
  /** Warnings and worse by service and message, most frequent first. */
  readonly trouble: readonly LoggedTrouble[];
  /** Bugs that a service died of. */
  readonly violations: readonly string[];
  /** Processes that ended without our doing, by service and how. */
  readonly ownEnds: Readonly<Record<string, number>>;
}

const BUGS = ['unhandled rejection', 'uncaught exception'];
const LEVELS = ['warn', 'error', 'fatal'];

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly err?: { readonly type?: string; readonly message?: string; readonly stack?: string };
}

/** What the services wrote and how they ended. `struckPids`: the processes that we killed or stopped. */
export async function readServiceLogs(site: Site, struckPids: ReadonlySet<number>): Promise<ServiceLogs> {
  const counts = new Map<string, LoggedTrouble>();
  const violations: string[] = [];
  for (const { name } of site.services) {
    for (const { level, msg, err } of await linesOf(site.platform.home.logFile(name))) {
      if (!LEVELS.includes(level)) continue;
      const message = withoutNumbers(err?.message === undefined ? msg : `${msg}: ${err.message}`);
      const key = `${name} ${level} ${message}`;
      counts.set(key, { service: name, level, message, count: (counts.get(key)?.count ?? 0) + 1 });
      if (BUGS.includes(msg)) violations.push(`${name}: ${msg}: ${err?.stack ?? err?.message ?? ''}`);
    }
  }
  const ownEnds: Record<string, number> = {};
  const hung = new Set(site.events.flatMap((event) => (event.type === 'process_hung' ? [event.pid] : [])));
  for (const event of site.events) {
    if (event.type !== 'process_crashed') continue;
    if (event.pid !== null && (struckPids.has(event.pid) || hung.has(event.pid))) continue;
    const how = `${event.name}: ${event.exit.error ?? event.exit.signal ?? `exit code ${event.exit.code}`}`;
    ownEnds[how] = (ownEnds[how] ?? 0) + 1;
  }
  const trouble = [...counts.values()].sort((a, b) => b.count - a.count);
  return { trouble, violations, ownEnds };
}

/** A line that a killed process left half written is none. */
async function linesOf(file: string): Promise<Line[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return [];
    try {
      return [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
}

/** Ids and counts would make each message a kind of its own. */
const withoutNumbers = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '<id>')
    .replaceAll(/\b[a-z]*-?[0-9A-Z]{20,}\b/g, '<id>')
    .replaceAll(/\d+/g, '#')
    .slice(0, 160);
