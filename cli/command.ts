import { parseArgs } from 'node:util';

/** `process.env`, which only main.ts reads. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface CommandOption {
  readonly name: string;
  /** What stands for the value in the help, e.g. `<port>`; absent: a switch. */
  readonly value?: string;
  readonly summary: string;
}

/** A subcommand of `trainyard`. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly CommandOption[];
  /** How its arguments without dashes look, e.g. `show <id>`, one form each; absent: it takes none. */
  readonly operands?: readonly string[];
  /** What each form does, for its help. */
  readonly forms?: readonly (readonly [name: string, summary: string])[];
  /** Returns the exit code of the program. */
  readonly run: (options: OptionValues, environment: Environment) => Promise<number>;
}

export interface OptionValues {
  text(name: string): string | undefined;
  flag(name: string): boolean;
  /** Arguments without dashes, in their order. */
  readonly operands: readonly string[];
}

/** The command line is wrong; the message says how it would be right. Exit code 64. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UsageError';
  }
}

/** Parses the arguments after the subcommand; null when help is asked for. Throws `UsageError`, which lists the valid options. */
export function parseOptions(command: Command, args: readonly string[]): OptionValues | null {
  const known = Object.fromEntries(
    command.options.map((option) => [
      option.name,
      { type: option.value === undefined ? 'boolean' : 'string' } as const,
    ]),
  );
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { ...known, help: { type: 'boolean', short: 'h' } },
      allowPositionals: command.operands !== undefined,
    });
    if (values['help'] === true) return null;
    const read = (name: string): unknown => (values as Record<string, unknown>)[name];
    return {
      text: (name) => {
        const value = read(name);
        return typeof value === 'string' ? value : undefined;
      },
      flag: (name) => read(name) === true,
      operands: positionals,
    };
  } catch (error) {
    if (!isParseError(error)) throw error;
    const valid = [...command.options.map((option) => `--${option.name}`), '--help'].join(', ');
    // Node's second sentence explains how to pass positional arguments, of which most commands have none.
    const [what] = error.message.split('. ');
    throw new UsageError(`${what}\nvalid options of \`trainyard ${command.name}\`: ${valid}`);
  }
}

function isParseError(error: unknown): error is Error {
  const code = (error as { code?: unknown } | null)?.code;
  return error instanceof Error && typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS_');
}

/** The help of one subcommand. */
export function commandHelp(command: Command): string {
  const rows = [...command.options, { name: 'help', summary: 'shows this' }].map((option) => [
    `--${option.name}${'value' in option && option.value !== undefined ? ` ${option.value}` : ''}`,
    option.summary,
  ]);
  const forms = command.operands ?? [''];
  const usage = forms.map((form) => `trainyard ${command.name}${form === '' ? '' : ` ${form}`} [options]`);
  const each = command.forms === undefined ? '' : `${columns(command.forms)}\n\n`;
  return `usage: ${usage.join('\n       ')}\n\n${command.summary}\n\n${each}${columns(rows)}\n`;
}

/** The help of the program. */
export function programHelp(commands: readonly Command[]): string {
  const rows = commands.map((command) => [command.name, command.summary]);
  return `usage: trainyard <command> [options]\n\n${columns(rows)}\n\n\`trainyard <command> --help\` shows the options of a command.\n`;
}

function columns(rows: readonly (readonly (string | undefined)[])[]): string {
  const width = Math.max(...rows.map(([left]) => left?.length ?? 0));
  return rows.map(([left = '', right = '']) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}
