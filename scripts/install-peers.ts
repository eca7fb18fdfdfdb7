// node scripts/bootstrap.mjs scripts/install-peers.ts [kafka] [registry] [s3] [mlflow] [optuna] [examples]
//
// Installs the peers, what tests compare with and what examples need (all without arguments) into the cache folder that `npm run stack` and the tests use: PEERS_CACHE, else
// ~/.cache/trainyard/peers. From nothing about 12 minutes on two busy cores; a second run does nothing.
// Exit codes: 0 all are there, 1 one cannot be had here (the reason is printed), 64 unknown name.
// oxlint-disable no-restricted-properties -- a composition root: this script is the program
import { peerCache } from './peers/cache.ts';
import { INSTALLABLE, installPeers, isInstallable } from './peers/install.ts';

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const unknown = args.filter((name) => !isInstallable(name));
  if (unknown.length > 0) {
    say(`unknown: ${unknown.join(', ')}; known are ${INSTALLABLE.join(', ')}`);
    return 64;
  }
  const names = args.length === 0 ? INSTALLABLE : args.filter(isInstallable);
  const cache = peerCache(process.env, say);
  const failures = await installPeers(names, cache);
  for (const name of names) say(`${name}: ${failures.get(name) ?? 'installed'}`);
  return failures.size === 0 ? 0 : 1;
}

function say(line: string): void {
  process.stderr.write(`peers: ${line}\n`);
}
