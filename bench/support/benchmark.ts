import { parseArgs } from 'node:util';

interface BenchmarkOption {
  readonly summary: string;
  /** A number or text takes a value; `false` is a switch. */
  readonly standard: number | string | false;
}

/** One benchmark of `npm run bench -- <name>`. */
export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  readonly options: Readonly<Record<string, BenchmarkOption>>;
  readonly run: (options: OptionValues) => Promise<void>;
}

export interface OptionValues {
  number(name: string): number;
  text(name: string): string;
  flag(name: string): boolean;
}

/** Parses a benchmark's arguments; what is absent has its standard value. Throws on an unknown option or a value that is no number. */
export function optionsOf(benchmark: Benchmark, args: readonly string[]): OptionValues {
  const known = Object.entries(benchmark.options).map(([name, { standard }]) => {
    return [name, { type: standard === false ? ('boolean' as const) : ('string' as const) }] as const;
  });
  const { values } = parseArgs({ args: [...args], options: Object.fromEntries(known) });
  const given = values as Record<string, string | boolean | undefined>;
  for (const [name, { standard }] of Object.entries(benchmark.options))
    if (typeof standard === 'number' && !Number.isFinite(Number(given[name] ?? standard)))
      throw new TypeError(`--${name} takes a number`);
  const value = (name: string): string | number | boolean => {
    const option = benchmark.options[name];
    if (option === undefined) throw new Error(`${benchmark.name} has no option ${name}`);
    return given[name] ?? option.standard;
  };
  return {
    number: (name) => Number(value(name)),
    text: (name) => String(value(name)),
    flag: (name) => value(name) === true,
  };
}

export function helpOf({ name, summary, options }: Benchmark): string {
  const lines = Object.entries(options).map(([option, { summary: what, standard }]) =>
    standard === false ? `      --${option}: ${what}` : `      --${option}=${standard}: ${what}`,
  );
  return [`  ${name}: ${summary}`, ...lines].join('\n');
}
