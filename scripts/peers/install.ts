import { messageOf } from '#lib/kernel/errors.ts';
import { type PeerCache, PeerUnavailable } from './cache.ts';
import { installKafka } from './kafka-install.ts';
import { installMlflow } from './mlflow.ts';
import { installOptuna } from './optuna.ts';
import { installPythonExample } from './python-example.ts';
import { installS3Server } from './s3-server.ts';
import { installSchemaRegistry } from './schema-registry.ts';

export const PEER_NAMES = ['kafka', 'registry', 's3', 'mlflow'] as const;
export type PeerName = (typeof PEER_NAMES)[number];

export const isPeerName = (text: string): text is PeerName => (PEER_NAMES as readonly string[]).includes(text);

/** The peers, a program that a test compares ours with, and what an example needs that a test runs. */
export const INSTALLABLE = [...PEER_NAMES, 'optuna', 'examples'] as const;
export type Installable = (typeof INSTALLABLE)[number];

export const isInstallable = (text: string): text is Installable => (INSTALLABLE as readonly string[]).includes(text);

const INSTALL: Readonly<Record<Installable, (cache: PeerCache) => Promise<unknown>>> = {
  kafka: installKafka,
  registry: installSchemaRegistry,
  s3: installS3Server,
  mlflow: installMlflow,
  optuna: installOptuna,
  examples: installPythonExample,
};

/**
 * Installs those that are not in the cache, the two that Maven fetches one after the other, those of pip too, the rest at the same time: one build is bound by the cores, the others by
 * the network. Returns the reasons of those that failed, by name.
 */
export async function installPeers(names: readonly Installable[], cache: PeerCache): Promise<Map<Installable, string>> {
  const failures = new Map<Installable, string>();
  const attempt = async (name: Installable): Promise<void> => {
    if (!names.includes(name)) return;
    try {
      await INSTALL[name](cache);
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error;
      failures.set(name, messageOf(error));
    }
  };
  await Promise.all([
    attempt('s3'),
    attempt('mlflow')
      .then(() => attempt('optuna'))
      .then(() => attempt('examples')),
    attempt('kafka').then(() => attempt('registry')),
  ]);
  return failures;
}
