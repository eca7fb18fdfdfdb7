import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '#lib/kernel/errors.ts';
import { isPeerName, type PeerName } from '../../../scripts/peers/install.ts';
import type { PeerAddresses, PeerState } from './peer-state.ts';

/** What the ladder found: the state for the suites, and how to end what it started. */
export interface FoundPeer<Address> {
  readonly state: PeerState<Address>;
  stop(): Promise<void>;
}

export type Ladder = <Name extends PeerName>(name: Name) => Promise<FoundPeer<PeerAddresses[Name]>>;

export interface Desk {
  readonly url: string;
  /** Ends everything that was started, also what is still starting. */
  close(): Promise<void>;
}

/**
 * Serves peers to the workers of a test run: `GET <url>/kafka` climbs the ladder at the first request, and answers the same state to all. A peer that
 * nobody asks for is never started.
 */
export async function openDesk(ladder: Ladder): Promise<Desk> {
  const peers = new Map<PeerName, Promise<FoundPeer<unknown>>>();
  const found = (name: PeerName): Promise<FoundPeer<unknown>> => {
    const known = peers.get(name) ?? ladder(name);
    peers.set(name, known);
    return known;
  };
  // A path that cannot be guessed: other users of the machine are no clients of the desk.
  const base = `/${randomUUID()}/`;
  const server = createServer((request, response) => {
    const name = request.url?.startsWith(base) === true ? request.url.slice(base.length) : '';
    if (!isPeerName(name)) {
      response.writeHead(404).end('there is no such peer');
      return;
    }
    found(name).then(
      ({ state }) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(state)),
      (error: unknown) => response.writeHead(500).end(messageOf(error)),
    );
  });
  // Installations take longer than Node's limits for requests.
  server.requestTimeout = 0;
  server.timeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${base.slice(0, -1)}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      const all = await Promise.allSettled(peers.values());
      await Promise.all(all.flatMap((each) => (each.status === 'fulfilled' ? [each.value.stop()] : [])));
      await closed;
    },
  };
}
