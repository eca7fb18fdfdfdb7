import { get } from 'node:http';
import { inject } from 'vitest';
import type { PeerAddresses, PeerName, PeerState, Rung } from './peer-state.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Base URL of the desk that `setup.ts` opened. */
    peerDesk: string;
  }
}

/**
 * A real Kafka, schema registry, S3 server or MLflow for a suite, or the reason why there is none here; started at the first call of a run and shared
 * by all of its files. At the top of a test file:
 *
 *     const kafka = await peer('kafka');
 *     describe.skipIf(!kafka.available)('...', () => { ... addressOf(kafka).brokers ... });
 *
 * The peer is shared: names of topics, groups, subjects, keys and models must be the file's own, and nobody stops it. A suite that kills one starts
 * its own by `startKafka` and so on. Only in vitest projects whose globalSetup is `test/support/peers/setup.ts`.
 */
export async function peer<Name extends PeerName>(name: Name): Promise<PeerState<PeerAddresses[Name]>> {
  return JSON.parse(await read(`${inject('peerDesk')}/${name}`)) as PeerState<PeerAddresses[Name]>;
}

/** For the inside of `describe.skipIf(!kafka.available)`, whose body vitest runs also when it skips the tests: call it in a test or a hook. */
export function addressOf<Address>(state: PeerState<Address>): { readonly rung: Rung } & Address {
  if (!state.available) throw new Error(`not run: ${state.reason}`);
  return state;
}

/** Not fetch: it gives up after five minutes, and a first installation may take longer. */
function read(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('error', reject);
      response.once('end', () =>
        response.statusCode === 200 ? resolve(text) : reject(new Error(`the peer desk answered: ${text}`)),
      );
    }).once('error', reject);
  });
}
