import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PeerCache } from './cache.ts';
import { installPeers, type PeerName } from './install.ts';
import { startKafka } from './kafka.ts';
import { startMlflow } from './mlflow.ts';
import { startS3Server } from './s3-server.ts';
import { startSchemaRegistry } from './schema-registry.ts';

export interface Stack {
  /** The variables of the services and of the AWS SDK, by name. */
  readonly variables: Readonly<Record<string, string>>;
  /** Where they are written, readable by the owner alone. */
  readonly environmentFile: string;
  /** Ends all of them and removes the file. */
  stop(): Promise<void>;
}

export interface StackOptions {
  /** Everything lies here; a later start goes on with the data, on the same ports where they are still free. */
  readonly folder: string;
  readonly peers: readonly PeerName[];
  readonly cache: PeerCache;
}

interface StartedPeer {
  readonly variables: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const BUCKET = 'trainyard';

export const environmentFileIn = (folder: string): string => join(folder, 'stack.env');

/**
 * Starts the peers on loopback, all at the same time, and writes how to reach them into `stack.env`. Throws when one cannot be had or does not start;
 * nothing is left running then.
 */
export async function startStack({ folder, peers, cache }: StackOptions): Promise<Stack> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const failures = await installPeers(peers, cache);
  if (failures.size > 0) throw new Error([...failures].map(([name, reason]) => `${name}: ${reason}`).join('\n'));

  const results = await Promise.allSettled(
    peers.map(async (name) => {
      const startedAt = performance.now();
      const started = await STARTERS[name]({ dir: join(folder, name), cache });
      cache.say(`${name} is ready after ${((performance.now() - startedAt) / 1_000).toFixed(1)} s`);
      return started;
    }),
  );
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stopAll = async (): Promise<void> => void (await Promise.all(started.map((each) => each.stop())));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) {
    await stopAll();
    throw failed.reason;
  }
  const variables: Record<string, string> = Object.assign({}, ...started.map((each) => each.variables));
  const environmentFile = environmentFileIn(folder);
  await writeFile(environmentFile, environmentText(variables), { mode: 0o600 });
  return {
    variables,
    environmentFile,
    stop: async () => {
      // First: a file that names ports where nobody listens misleads.
      await rm(environmentFile, { force: true });
      await stopAll();
    },
  };
}

const STARTERS: Readonly<Record<PeerName, (options: { dir: string; cache: PeerCache }) => Promise<StartedPeer>>> = {
  kafka: async (options) => {
    const kafka = await startKafka(options);
    return { variables: { BUS_URL: `kafka://${kafka.brokers.join(',')}` }, stop: () => kafka.stop() };
  },
  registry: async (options) => {
    const registry = await startSchemaRegistry(options);
    return { variables: { SCHEMA_REGISTRY_URL: registry.url }, stop: () => registry.stop() };
  },
  s3: async (options) => {
    const server = await startS3Server(options);
    await server.createBucket(BUCKET);
    const { endpoint, region, accessKeyId, secretAccessKey } = server;
    return {
      variables: {
        OBJECT_STORE_URL: `s3://${BUCKET}/data?endpoint=${endpoint}&region=${region}&pathStyle=true`,
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
      },
      stop: () => server.stop(),
    };
  },
  mlflow: async (options) => {
    const mlflow = await startMlflow(options);
    return { variables: { MODEL_REGISTRY_URL: `mlflow+${mlflow.url}` }, stop: () => mlflow.stop() };
  },
};

/** Lines of `NAME=value` for a shell, for `node --env-file` and for compose: a value that a shell would take apart stands in quotes. */
export function environmentText(variables: Readonly<Record<string, string>>): string {
  return Object.entries(variables)
    .map(([name, value]) => `${name}=${/^[\w:/.,@%+-]*$/.test(value) ? value : `'${value}'`}\n`)
    .join('');
}
