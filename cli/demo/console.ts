import type { Environment } from '../command.ts';
import { type Display, NOTHING_SAID, type Said } from './display.ts';
import { LiveTerminal } from './live-terminal.ts';
import { clock } from './quantities.ts';
import { type Line, painted, span, type Tone } from './text-style.ts';

/** Where a person follows the demo. */
export interface DemoConsole {
  /** Columns that may be used; a terminal's width, or what fits a log. */
  readonly columns: number;
  /** A line that stays. */
  say(text: string, tone?: Tone): void;
  /** Lines of a report. */
  print(lines: readonly Line[]): void;
  /** How a job stands, shown in place of the display before. */
  show(display: Display): void;
  /** The job has ended: its last state stays, the next `show` begins a new one. */
  settle(): void;
}

/** Room for a file name and its whole digest; a log does not wrap. */
const LOG_COLUMNS = 118;
const MAX_COLUMNS = 118;

/** A live display on a terminal, plain lines anywhere else. `NO_COLOR` (any value) switches colours off, `TERM=dumb` the live display too. */
export function demoConsole(stream: NodeJS.WriteStream, environment: Environment): DemoConsole {
  const isTerminal = stream.isTTY && environment['TERM'] !== 'dumb';
  // A reader that went away (`| head`) or a closed terminal must not end the demo before it has stopped its processes.
  stream.on('error', () => undefined);
  const colour = isTerminal && (environment['NO_COLOR'] ?? '') === '';
  return isTerminal ? terminalConsole(stream, colour) : logConsole(stream);
}

function terminalConsole(stream: NodeJS.WriteStream, colour: boolean): DemoConsole {
  const terminal = new LiveTerminal(stream, colour);
  let last: Display | null = null;
  const draw = (): void => {
    if (last !== null) terminal.draw(last.frame(terminal.screen));
  };
  stream.on('resize', draw);
  return {
    get columns() {
      return Math.min(terminal.screen.columns - 1, MAX_COLUMNS);
    },
    say: (text, tone = 'plain') => terminal.print(painted([span(text, tone)], colour)),
    print: (lines) => lines.forEach((line) => terminal.print(painted(line, colour))),
    show: (display) => {
      last = display;
      draw();
    },
    settle: () => {
      last = null;
      terminal.keep();
    },
  };
}

function logConsole(stream: NodeJS.WriteStream): DemoConsole {
  const begunAtMs = performance.now();
  let said: Said = NOTHING_SAID;
  const write = (text: string): void => void stream.write(`${text}\n`);
  const stamped = (text: string): void => write(`[${clock(performance.now() - begunAtMs).padStart(5)}] ${text}`);
  return {
    columns: LOG_COLUMNS,
    say: (text) => stamped(text),
    print: (lines) => lines.forEach((line) => write(painted(line, false))),
    show: (display) => {
      const next = display.news(said);
      said = next.said;
      next.lines.forEach((line) => stamped(line));
    },
    settle: () => {
      said = NOTHING_SAID;
    },
  };
}
