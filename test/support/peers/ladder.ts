import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '#lib/kernel/errors.ts';
import { type Environment, peerCache, PeerUnavailable } from '../../../scripts/peers/cache.ts';
import type { PeerName } from '../../../scripts/peers/install.ts';
import { startKafka } from '../../../scripts/peers/kafka.ts';
import { startMlflow } from '../../../scripts/peers/mlflow.ts';
import { createBucket, startS3Server } from '../../../scripts/peers/s3-server.ts';
import { startSchemaRegistry } from '../../../scripts/peers/schema-registry.ts';
import type { StartOptions } from '../../../scripts/peers/start-options.ts';
import { containers, whyNoContainers } from './containers.ts';
import type { FoundPeer, Ladder } from './desk.ts';
import { DEFAULT_BUCKET, givenAddress } from './given-addresses.ts';
import type { PeerAddresses, Rung } from './peer-state.ts';

export interface Started<Address> {
  readonly address: Address;
  stop(): Promise<void>;
}

export type Starters = { readonly [Name in PeerName]: () => Promise<Started<PeerAddresses[Name]>> };

/**
 * The way to a real peer, first hit wins: (1) an address in the environment, (2) a container, where a container runtime answers, (3) a process of this
 * machine, installed from the package registries where that is allowed and its tools exist, (4) none, with a reason. What was chosen is said once.
 */
export function ladderOf(environment: Environment, say: (line: string) => void): Ladder {
  const cache = peerCache(environment, say);
  return async (name) => {
    const found = async (rung: Rung, started: Started<PeerAddresses[typeof name]>) => {
      say(`${name}: ${rung}, ${whereIs(started.address)}`);
      const state = { available: true, rung, ...started.address };
      return { state, stop: () => started.stop() } as FoundPeer<PeerAddresses[typeof name]>;
    };
    // 1. Somebody runs it for us. That it does not answer is the suite's failure, not a reason to take another one.
    const address = givenAddress(name, environment);
    if (address !== null) {
      if ('bucket' in address) await createBucket(address, address.bucket);
      return found('environment', { address, stop: async () => undefined });
    }
    // 2. A container.
    const reasons: string[] = [];
    const noContainers = await whyNoContainers(environment);
    if (noContainers === null) {
      try {
        return await found('container', await containers[name]());
      } catch (error) {
        reasons.push(`the container did not start: ${messageOf(error)}`);
        say(`${name}: ${reasons[0]}; trying a local process`);
      }
    } else reasons.push(noContainers);
    // 3. A process. Only what cannot be had here is a reason: a server that is there and does not start is a failure.
    try {
      return await found('local process', await inTemporaryFolder((dir) => localProcess(name, { dir, cache })));
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error;
      reasons.push(error.message);
    }
    // 4. None.
    const reason = `${name}: ${reasons.join('; ')}`;
    say(`not run: ${reason}`);
    return { state: { available: false, reason }, stop: async () => undefined };
  };
}

const whereIs = (address: PeerAddresses[PeerName]): string =>
  'brokers' in address ? address.brokers.join(',') : 'endpoint' in address ? address.endpoint : address.url;

function localProcess<Name extends PeerName>(name: Name, options: StartOptions): Promise<Started<PeerAddresses[Name]>> {
  const starters: Starters = {
    kafka: async () => {
      const kafka = await startKafka(options);
      return { address: { brokers: kafka.brokers }, stop: () => kafka.stop() };
    },
    registry: async () => {
      const registry = await startSchemaRegistry(options);
      return { address: { url: registry.url }, stop: () => registry.stop() };
    },
    s3: async () => {
      const server = await startS3Server(options);
      await server.createBucket(DEFAULT_BUCKET);
      const { endpoint, accessKeyId, secretAccessKey, region } = server;
      return {
        address: { endpoint, accessKeyId, secretAccessKey, region, bucket: DEFAULT_BUCKET },
        stop: () => server.stop(),
      };
    },
    mlflow: async () => {
      const mlflow = await startMlflow(options);
      return { address: { url: mlflow.url }, stop: () => mlflow.stop() };
    },
  };
  return starters[name]();
}

/** The folder goes with the peer. */
async function inTemporaryFolder<Address>(
  start: (dir: string) => Promise<Started<Address>>,
): Promise<Started<Address>> {
  const dir = await mkdtemp(join(tmpdir(), 'trainyard-peer-'));
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true, maxRetries: 5 });
  try {
    const started = await start(dir);
    return {
      address: started.address,
      stop: async () => {
        await started.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
