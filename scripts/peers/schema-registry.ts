import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { installOnce, type PeerCache } from './cache.ts';
import { findJavas, type Java, javaOfAtLeast } from './java.ts';
import { startLocalProcess } from './local-process.ts';
import { PINS } from './pins.ts';
import { portsFor } from './ports.ts';
import { defaultCache, peerOf, type PeerProcess, type StartOptions } from './start-options.ts';
import { findTool, runTool } from './tools.ts';

export interface SchemaRegistryOptions extends StartOptions {
  /** A PostgreSQL database that keeps the schemas (tables are made); default: an H2 file in `dir`. Only with Java 21 or newer. */
  readonly databaseUrl?: string;
}

export interface RunningSchemaRegistry extends PeerProcess {
  /** Base of the Confluent-compatible interface, as its clients want it. */
  readonly url: string;
}

interface ApicurioInstallation {
  readonly java: Java;
  readonly folder: string;
  readonly generation: 2 | 3;
}

const JAVA_FOR_3 = 21;
const JAVA_FOR_2 = 17;
const FLAGS = ['-Xms64m', '-Xmx320m', '-Xss512k', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
/** 18 s measured on busy cores, twice that with a database that is new. */
const READY_WITHIN_MS = 120_000;
const API = '/apis/ccompat/v7';

/**
 * Starts Apicurio Registry on loopback, installing it first where it is not in the cache; returns when it answers. Its level of compatibility is NONE
 * until a subject's, or the global one, is set; ids have gaps. Throws `PeerUnavailable` when this machine cannot run it.
 */
export async function startSchemaRegistry(options: SchemaRegistryOptions): Promise<RunningSchemaRegistry> {
  const installation = await installSchemaRegistry(options.cache ?? defaultCache());
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true });
  const [port = 0, managementPort = 0] = await portsFor(dir, 2);
  const url = `http://127.0.0.1:${port}${API}`;
  const process = await startLocalProcess({
    name: 'the schema registry',
    command: installation.java.program,
    args: [
      ...FLAGS,
      '-Dquarkus.http.host=127.0.0.1',
      `-Dquarkus.http.port=${port}`,
      // Its default is port 9000 on every interface.
      '-Dquarkus.management.host=127.0.0.1',
      `-Dquarkus.management.port=${managementPort}`,
      ...storageArgs(installation, dir, options.databaseUrl),
      '-jar',
      join(installation.folder, installation.generation === 3 ? 'quarkus-run.jar' : JAR_OF_2),
    ],
    environment: { PATH: '/usr/bin:/bin' },
    cwd: dir,
    logFile: join(dir, 'schema-registry.log'),
    isReady: async () => (await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(5_000) })).ok,
    readyWithinMs: READY_WITHIN_MS,
  });
  return peerOf(process, { url });
}

const JAR_OF_2 = `apicurio-registry-app-${PINS.apicurioForJava17}-runner.jar`;

/** Apicurio 3 where there is a Java for it, else the last one for Java 17. */
export async function installSchemaRegistry(cache: PeerCache): Promise<ApicurioInstallation> {
  const javas = await findJavas(cache.environment);
  const generation = javas.some(({ major }) => major >= JAVA_FOR_3) ? 3 : 2;
  const version = generation === 3 ? PINS.apicurio : PINS.apicurioForJava17;
  const java = javaOfAtLeast(generation === 3 ? JAVA_FOR_3 : JAVA_FOR_2, javas, `Apicurio Registry ${version}`);
  const folder = await installOnce(cache, {
    name: `apicurio-${version}`,
    description: `Apicurio Registry ${version} by Maven (about 150 MB, 30 s, once)`,
    build: (unfinished) => fetchDistribution(cache, unfinished, version),
  });
  return { java, folder, generation };
}

/** The runnable distribution is the archive with the classifier `all`; the plain jar lacks everything it needs. It has no top folder. */
async function fetchDistribution(cache: PeerCache, folder: string, version: string): Promise<void> {
  const maven = await findTool('mvn', 'fetch Apicurio Registry from Maven Central', cache.environment);
  const tar = await findTool('tar', 'unpack Apicurio Registry', cache.environment);
  const artifact = `io.apicurio:apicurio-registry-app:${version}:tar.gz:all`;
  const goal = ['dependency:copy', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`];
  await runTool(cache, {
    command: maven,
    args: ['-q', '-B', '-Dstyle.color=never', ...goal],
    cwd: folder,
    attempts: 2,
  });
  const archive = join(folder, `apicurio-registry-app-${version}-all.tar.gz`);
  await runTool(cache, { command: tar, args: ['xzf', archive, '-C', folder], cwd: folder });
  await runTool(cache, { command: 'rm', args: [archive], cwd: folder });
}

/** H2 otherwise writes half a second after the commit: kill -9 right after a registration lost it. */
const h2Url = (dir: string): string => `jdbc:h2:file:${join(dir, 'schemas')};WRITE_DELAY=0`;

function storageArgs({ generation }: ApicurioInstallation, dir: string, databaseUrl: string | undefined): string[] {
  if (generation === 2) {
    if (databaseUrl !== undefined) throw new Error('schemas in PostgreSQL need Apicurio Registry 3, that is Java 21');
    // This distribution calls its storage "in memory" and means H2; with a file it keeps what it has.
    return [`-DREGISTRY_DATASOURCE_URL=${h2Url(dir)}`];
  }
  const sql = (kind: string, url: string): string[] => [
    '-Dapicurio.storage.kind=sql',
    `-Dapicurio.storage.sql.kind=${kind}`,
    `-Dapicurio.datasource.url=${url}`,
  ];
  if (databaseUrl === undefined) return sql('h2', h2Url(dir));
  const { hostname, port, pathname, username, password } = new URL(databaseUrl);
  return [
    ...sql('postgresql', `jdbc:postgresql://${hostname}:${port === '' ? '5432' : port}${pathname}`),
    `-Dapicurio.datasource.username=${decodeURIComponent(username)}`,
    `-Dapicurio.datasource.password=${decodeURIComponent(password)}`,
  ];
}
