import { type PeerCache, peerCache } from './cache.ts';

export interface StartOptions {
  /** Everything the peer keeps: data, log, ports. Made when absent; a later start on it goes on with the data. */
  readonly dir: string;
  /** Default: the user's cache, with lines of progress on standard error. */
  readonly cache?: PeerCache;
}

/** What every server of ours offers besides its address. */
export interface PeerProcess {
  /** Leader of the process group; another one after `restart()`. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** Sends a signal to all of its processes. */
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on the same port and data and waits until it is ready; stops it first when it runs. */
  restart(): Promise<void>;
  /** SIGTERM, SIGKILL after 10 s. Idempotent. */
  stop(): Promise<void>;
}

/** A server: its own members, and its process. */
export const peerOf = <Own extends object>(process: PeerProcess, own: Own): Own & PeerProcess => ({
  ...own,
  get pid() {
    return process.pid;
  },
  get isRunning() {
    return process.isRunning;
  },
  kill: (signal) => process.kill(signal),
  restart: () => process.restart(),
  stop: () => process.stop(),
});

export const defaultCache = (): PeerCache =>
  // oxlint-disable-next-line no-restricted-properties -- tools are found by PATH and HOME; the peers are no part of any service
  peerCache(process.env, (line) => void process.stderr.write(`peers: ${line}\n`));
