import { cp, mkdir, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { installKafka, type KafkaInstallation, MOST_NODES } from './kafka-install.ts';
import { type KafkaNodeSettings, type KafkaPorts, serverProperties } from './kafka-properties.ts';
import { answersAsCluster } from './kafka-readiness.ts';
import { type KafkaSecurity, prepareSecurity } from './kafka-security.ts';
import { startLocalProcess } from './local-process.ts';
import { portsFor } from './ports.ts';
import { defaultCache, peerOf, type PeerProcess, type StartOptions } from './start-options.ts';

export interface KafkaOptions extends StartOptions {
  /** One broker, or three with every topic on all of them; default 1. The same at every start on the folder. */
  readonly nodes?: 1 | 3;
  /** One broker gets one more listener with TLS and logins. The same at every start on the folder. */
  readonly security?: KafkaSecurity;
}

export interface KafkaNode {
  readonly id: number;
  /** Of the Java process; another one after `restart()`. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** `host:port`, the same after `restart()`. */
  readonly address: string;
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on its port and data and returns when it serves clients; of the other nodes nothing is expected. */
  restart(): Promise<void>;
}

export interface RunningKafka {
  /** `host:port` of every node. */
  readonly brokers: readonly string[];
  readonly nodes: readonly KafkaNode[];
  /** The listener with TLS, where one was asked for; `caFile`: PEM of its authority. */
  readonly secure: { readonly address: string; readonly caFile: string } | null;
  stop(): Promise<void>;
}

/** The noisiest start measured took 17 s, with three times the load this machine can carry. */
const READY_WITHIN_MS = 120_000;

/**
 * Starts Kafka on loopback and returns when all nodes serve clients; installs it first where it is not in the cache. Topics must be created, nothing
 * is created by naming it. Data stays in the folder. Throws `PeerUnavailable` when this machine cannot run it.
 */
export async function startKafka(options: KafkaOptions): Promise<RunningKafka> {
  const cache = options.cache ?? defaultCache();
  const installation = await installKafka(cache);
  const dir = resolve(options.dir);
  const count = options.nodes ?? 1;
  if (count > MOST_NODES) throw new Error(`at most ${MOST_NODES} nodes`);
  await mkdir(dir, { recursive: true });
  // The last one is the secure listener's.
  const numbers = await portsFor(dir, 2 * count + (options.security === undefined ? 0 : 1));
  const ports: Record<number, KafkaPorts> = {};
  for (let node = 1; node <= count; node++)
    ports[node] = { client: numbers[2 * node - 2] ?? 0, controller: numbers[2 * node - 1] ?? 0 };

  if (options.security !== undefined && count !== 1) throw new Error('a secure listener is for one node');
  const secure =
    options.security === undefined
      ? null
      : await prepareSecurity(cache, installation, {
          folder: await ensured(folderOf(dir, 1)),
          dataDir: dataDirOf(dir, 1),
          port: numbers.at(-1) ?? 0,
          security: options.security,
        });
  const ids = Object.keys(ports).map(Number);
  const started = await Promise.allSettled(
    ids.map((id) =>
      startNode(installation, dir, id, { ports, ...(secure === null ? {} : { secure: secure.listener }) }),
    ),
  );
  const nodes = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const stop = async (): Promise<void> => void (await Promise.all(nodes.map((node) => node.stop())));
  const failure = started.find((each) => each.status === 'rejected');
  if (failure !== undefined) {
    await stop();
    throw failure.reason;
  }
  return {
    brokers: nodes.map((node) => node.address),
    nodes,
    secure: secure === null ? null : { address: `127.0.0.1:${secure.listener.port}`, caFile: secure.caFile },
    stop,
  };
}

const folderOf = (dir: string, id: number): string => join(dir, `node-${id}`);
const dataDirOf = (dir: string, id: number): string => join(folderOf(dir, id), 'data');

async function ensured(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  return folder;
}

async function startNode(
  installation: KafkaInstallation,
  dir: string,
  id: number,
  { ports, ...rest }: Pick<KafkaNodeSettings, 'ports' | 'secure'>,
): Promise<KafkaNode & PeerProcess> {
  const folder = await ensured(folderOf(dir, id));
  const dataDir = dataDirOf(dir, id);
  const isNew = await stat(join(dataDir, 'meta.properties')).then(
    () => false,
    () => true,
  );
  if (isNew) await cp(installation.formattedData(id), dataDir, { recursive: true });
  const file = join(folder, 'server.properties');
  await writeFile(file, serverProperties({ node: id, dataDir, ports, ...rest }));
  const address = `127.0.0.1:${ports[id]?.client}`;
  // The first start waits for the whole cluster, a restart only for the node itself: others may be down on purpose.
  let expected = Object.keys(ports).map(Number);
  const process = await startLocalProcess({
    name: `Kafka node ${id}`,
    command: installation.java.program,
    args: [...installation.javaArgs, 'kafka.Kafka', file],
    environment: { PATH: '/usr/bin:/bin' },
    cwd: folder,
    logFile: join(folder, 'kafka.log'),
    isReady: () => answersAsCluster(address, expected),
    readyWithinMs: READY_WITHIN_MS,
  });
  expected = [id];
  return peerOf(process, { id, address });
}
