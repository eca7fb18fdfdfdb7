import { parse } from 'yaml';

export interface ComposeService {
  readonly image?: string;
  readonly build?: string | { readonly args?: Readonly<Record<string, string>> };
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[]; readonly timeout?: string };
  readonly stop_grace_period?: string;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly command?: readonly string[];
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** The text of a docker-compose.yml as compose reads it, anchors and merges included; variables are not filled in. */
export const readComposeFile = (text: string): ComposeFile => parse(text, { merge: true }) as ComposeFile;

/** The value that holds when nothing is set outside: `${NAME:-value}` -> `value`, `$$` -> `$`. */
export const withoutOutside = (value: string | number): string =>
  String(value)
    .replaceAll(/\$\{[A-Z][A-Z0-9_]*:-([^}]*)\}/g, (_, fallback: string) => fallback)
    .replaceAll('$$', '$');
