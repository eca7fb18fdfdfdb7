import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installOnce, type PeerCache } from './cache.ts';
import { findJavas, type Java, javaOfAtLeast } from './java.ts';
import { serverProperties } from './kafka-properties.ts';
import { answersAsCluster } from './kafka-readiness.ts';
import { startLocalProcess } from './local-process.ts';
import { PINS } from './pins.ts';
import { portsFor } from './ports.ts';
import { findTool, runTool } from './tools.ts';

/** What a node is started from. */
export interface KafkaInstallation {
  readonly java: Java;
  /** Arguments of `java` up to the main class. */
  readonly javaArgs: readonly string[];
  /** A formatted, empty data folder for the node of that number (1 to 3). It holds no port: a copy starts anywhere. */
  formattedData(node: number): string;
}

export const MOST_NODES = 3;
const JAVA_FOR_KAFKA = 17;

/** 150 MB of resident memory for a broker instead of 220, and half the CPU time of a start: the second compiler never pays off in a test. */
const FLAGS = [
  '-Xms64m',
  '-Xmx256m',
  '-Xss512k',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-XX:MaxMetaspaceSize=128m',
  '-XX:ReservedCodeCacheSize=48m',
  '-XX:MaxDirectMemorySize=64m',
];

/** Any 16 bytes in base64; all our clusters may have the same one, since no node is ever moved between two of them. */
const CLUSTER_ID = 'dHJhaW55YXJkLWthZmthMQ';

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>trainyard.peers</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${PINS.kafka}</version></dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>${PINS.log4jBinding}</version>
      <scope>runtime</scope>
    </dependency>
  </dependencies>
</project>
`;

/** Installs what is missing: the jars by Maven, then, for this Java, formatted data folders and an archive of loaded classes. */
export async function installKafka(cache: PeerCache): Promise<KafkaInstallation> {
  const java = javaOfAtLeast(JAVA_FOR_KAFKA, await findJavas(cache.environment), `Kafka ${PINS.kafka}`);
  const jars = await installOnce(cache, {
    name: `kafka-${PINS.kafka}`,
    description: `Kafka ${PINS.kafka} by Maven (43 MB, about 15 s, once)`,
    build: (folder) => fetchJars(cache, folder),
  });
  const classpath = await classpathOf(jars);
  const prepared = await installOnce(cache, {
    name: `kafka-${PINS.kafka}-java-${java.version}`,
    description: `start-up files of Kafka ${PINS.kafka} for Java ${java.version} (about 20 s, once)`,
    build: (folder) => prepareStart(cache, folder, java, classpath),
  });
  return {
    java,
    // An archive that does not fit is ignored by Java: the start is slower then, nothing else.
    javaArgs: [...FLAGS, `-XX:SharedArchiveFile=${join(prepared, ARCHIVE)}`, '-Xshare:auto', '-cp', classpath],
    formattedData: (node) => join(prepared, templateName(node)),
  };
}

const ARCHIVE = 'kafka.jsa';
const templateName = (node: number): string => `formatted-${node}`;

async function fetchJars(cache: PeerCache, folder: string): Promise<void> {
  const maven = await findTool('mvn', 'fetch Kafka from Maven Central', cache.environment);
  await writeFile(join(folder, 'pom.xml'), POM);
  const goal = ['dependency:copy-dependencies', '-DincludeScope=runtime', `-DoutputDirectory=${join(folder, 'lib')}`];
  await runTool(cache, {
    command: maven,
    args: ['-q', '-B', '-Dstyle.color=never', '-f', join(folder, 'pom.xml'), ...goal],
    cwd: folder,
    attempts: 2,
  });
}

/** In one order, whatever the file system's: the archive of classes is valid for exactly one class path. */
async function classpathOf(kafka: string): Promise<string> {
  const lib = join(kafka, 'lib');
  return (await readdir(lib))
    .filter((name) => name.endsWith('.jar'))
    .sort()
    .map((name) => join(lib, name))
    .join(':');
}

/**
 * Formatting takes a Java of its own (3 s) and starting without an archive of loaded classes twice the time, so both are done once. The archive
 * is written when the first node, started for it, ends.
 */
async function prepareStart(cache: PeerCache, folder: string, java: Java, classpath: string): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'trainyard-kafka-'));
  try {
    const [client = 0, controller = 0] = await portsFor(scratch, 2);
    for (let node = 1; node <= MOST_NODES; node++) {
      const data = join(folder, templateName(node));
      const file = join(scratch, `format-${node}.properties`);
      await mkdir(data);
      await writeFile(file, serverProperties({ node, dataDir: data, ports: { [node]: { client, controller } } }));
      const args = ['-cp', classpath, ...formatArgs(file)];
      await runTool(cache, { command: java.program, args: [...FLAGS, ...args], cwd: scratch });
    }
    await dumpArchive(cache, { folder, scratch, java, classpath, client, controller });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Main class and arguments of Java that format the data folder named in a properties file. */
export const formatArgs = (propertiesFile: string): readonly string[] => [
  'kafka.tools.StorageTool',
  'format',
  '-g',
  '-t',
  CLUSTER_ID,
  '-c',
  propertiesFile,
];

interface Dump {
  readonly folder: string;
  readonly scratch: string;
  readonly java: Java;
  readonly classpath: string;
  readonly client: number;
  readonly controller: number;
}

async function dumpArchive(cache: PeerCache, dump: Dump): Promise<void> {
  const dataDir = join(dump.scratch, 'data');
  await cp(join(dump.folder, templateName(1)), dataDir, { recursive: true });
  const file = join(dump.scratch, 'server.properties');
  const ports = { 1: { client: dump.client, controller: dump.controller } };
  await writeFile(file, serverProperties({ node: 1, dataDir, ports }));
  const broker = await startLocalProcess({
    name: 'Kafka (to record its classes)',
    command: dump.java.program,
    args: [
      ...FLAGS,
      `-XX:ArchiveClassesAtExit=${join(dump.folder, ARCHIVE)}`,
      '-cp',
      dump.classpath,
      'kafka.Kafka',
      file,
    ],
    environment: cache.environment,
    cwd: dump.scratch,
    logFile: join(dump.scratch, 'kafka.log'),
    isReady: () => answersAsCluster(`127.0.0.1:${dump.client}`, [1]),
    readyWithinMs: 120_000,
  });
  // Not stop(): the dump at exit may take longer than a stop may.
  broker.kill('SIGTERM');
  await broker.ended();
}
