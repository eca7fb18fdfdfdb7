import { execFile } from 'node:child_process';
import { access, constants, readdir, realpath } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { type Environment, PeerUnavailable } from './cache.ts';

export interface Java {
  /** Path of the `java` program, links resolved. */
  readonly program: string;
  readonly major: number;
  /** As `java -version` prints it, e.g. `17.0.15`. */
  readonly version: string;
}

/** Folders below which packages and installers put their Java versions, with the way from there to the program. */
const INSTALLED: readonly (readonly [folder: string, program: string])[] = [
  ['/usr/lib/jvm', 'bin/java'],
  ['/usr/java', 'bin/java'],
  ['/Library/Java/JavaVirtualMachines', 'Contents/Home/bin/java'],
];

/**
 * Every Java on this machine, each once: PEERS_JAVA, JAVA_HOME and PATH first, then the usual folders. What does not answer to
 * `java -version` is left out (macOS has a `java` that only says where to get one).
 */
export async function findJavas(environment: Environment): Promise<Java[]> {
  const { PEERS_JAVA: given, JAVA_HOME: home, PATH: path } = environment;
  const candidates = [
    ...(given === undefined ? [] : [given]),
    ...(home === undefined ? [] : [join(home, 'bin', 'java')]),
    ...(path ?? '').split(delimiter).map((folder) => join(folder, 'java')),
  ];
  for (const [folder, program] of INSTALLED)
    for (const each of await foldersIn(folder)) candidates.push(join(folder, each, program));
  const programs = new Set<string>();
  for (const candidate of candidates) if (await isExecutable(candidate)) programs.add(await realpath(candidate));
  const javas = await Promise.all([...programs].map(identify));
  return javas.filter((java) => java !== null);
}

/** The first that is new enough. Throws `PeerUnavailable`, naming what was found. */
export function javaOfAtLeast(major: number, javas: readonly Java[], purpose: string): Java {
  const found = javas.find((java) => java.major >= major);
  if (found !== undefined) return found;
  const seen = javas.length === 0 ? 'none was found' : `found ${javas.map(({ version }) => version).join(', ')}`;
  throw new PeerUnavailable(`${purpose} needs Java ${major} or newer: ${seen}`);
}

/** `17.0.15` -> 17; `1.8.0_402` -> 8; null for text that is not the answer of a Java. */
export function parseJavaVersion(text: string): Pick<Java, 'major' | 'version'> | null {
  const version = /version "([^"]+)"/.exec(text)?.[1];
  if (version === undefined) return null;
  const [first = '', second = ''] = version.split(/[._-]/);
  const major = Number(first === '1' ? second : first);
  return Number.isInteger(major) ? { major, version } : null;
}

const foldersIn = async (folder: string): Promise<string[]> => {
  const names = await readdir(folder).catch((): string[] => []);
  return names.sort();
};

async function identify(program: string): Promise<Java | null> {
  try {
    const { stderr, stdout } = await promisify(execFile)(program, ['-version'], { timeout: 20_000 });
    const parsed = parseJavaVersion(`${stderr}\n${stdout}`);
    return parsed === null ? null : { program, ...parsed };
  } catch {
    return null;
  }
}

const isExecutable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
