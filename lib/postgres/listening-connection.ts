import { Client, type ClientConfig, escapeIdentifier } from 'pg';

const RECONNECT_MS = 250;

export type OnNotify = (channel: string, payload: string) => void;

/** Ends one call of `listen`. */
export interface Listener {
  close(): Promise<void>;
}

/**
 * A connection that listens for everybody in the process, and is lent for statements in between: a quiet process needs no other session of the
 * server's (20 MB each). PostgreSQL delivers what was notified meanwhile at the end of the statement or transaction. Connects by itself, again and again,
 * and then calls each listener back once for what it may have missed.
 */
export class ListeningConnection {
  readonly #config: ClientConfig;
  readonly #listeners = new Set<{ readonly channels: readonly string[]; readonly onNotify: OnNotify }>();
  #client: Client | null = null;
  /** Listened to on the present connection. */
  #channels = new Set<string>();
  #state: 'away' | 'free' | 'lent' = 'away';
  #timer: NodeJS.Timeout | null = null;
  /** Of those who wait for it: called once, when it is free or away. */
  readonly #waiting = new Set<() => void>();

  /** Connects with the first `listen`. */
  constructor(config: ClientConfig) {
    this.#config = config;
  }

  listen(channels: readonly string[], onNotify: OnNotify): Listener {
    const listener = { channels, onNotify };
    this.#listeners.add(listener);
    if (this.#client === null && this.#timer === null) void this.#connect();
    else if (this.#state === 'free') void this.#catchUp();
    return {
      close: async () => {
        this.#listeners.delete(listener);
        if (this.#listeners.size === 0) await this.#disconnect();
      },
    };
  }

  /** For one statement or transaction, then `giveBack`; null while it is away or lent. */
  lend(): Client | null {
    if (this.#state !== 'free') return null;
    this.#state = 'lent';
    return this.#client;
  }

  /** As `lend`, after at most so many milliseconds of waiting. */
  async lendWithin(ms: number): Promise<Client | null> {
    const deadline = performance.now() + ms;
    for (let leftMs = ms; this.#state === 'lent' && leftMs > 0; leftMs = deadline - performance.now())
      await this.#back(leftMs);
    return this.lend();
  }

  /** `broken`: it may still be in a transaction, and is replaced. */
  giveBack(client: Client, broken = false): void {
    if (client !== this.#client) return;
    if (broken) this.#replace(client);
    else {
      this.#state = 'free';
      this.#isBack();
      void this.#catchUp();
    }
  }

  async #connect(): Promise<void> {
    this.#timer = null;
    const client = new Client(this.#config);
    this.#client = client;
    this.#channels = new Set();
    client.on('error', () => this.#replace(client));
    client.on('end', () => this.#replace(client));
    client.on('notification', ({ channel, payload = '' }) => this.#notify(channel, payload));
    try {
      await client.connect();
      if (client !== this.#client) return;
      this.#state = 'free';
      await this.#catchUp();
    } catch {
      this.#replace(client);
    }
  }

  /** Listens to the channels that came since. Never inside somebody's transaction: its rollback would undo that. */
  async #catchUp(): Promise<void> {
    const wanted = new Set([...this.#listeners].flatMap(({ channels }) => channels));
    const missing = [...wanted].filter((channel) => !this.#channels.has(channel));
    if (missing.length === 0) return;
    const client = this.lend();
    if (client === null) return;
    try {
      for (const channel of missing) {
        await client.query(`listen ${escapeIdentifier(channel)}`);
        this.#channels.add(channel);
      }
    } catch {
      this.#replace(client);
      return;
    }
    this.giveBack(client);
    for (const channel of missing) this.#notify(channel, '');
  }

  #notify(channel: string, payload: string): void {
    for (const { channels, onNotify } of this.#listeners) if (channels.includes(channel)) onNotify(channel, payload);
  }

  #replace(client: Client): void {
    if (client !== this.#client) return;
    this.#client = null;
    this.#state = 'away';
    this.#isBack();
    client.end().catch(() => undefined);
    if (this.#listeners.size > 0) this.#timer = setTimeout(() => void this.#connect(), RECONNECT_MS);
  }

  #isBack(): void {
    for (const resolve of this.#waiting) resolve();
  }

  /** Resolves when it is free or away, or time is over. */
  #back(withinMs = Infinity): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        clearTimeout(timer);
        resolve();
      };
      const timer = withinMs === Infinity ? undefined : setTimeout(done, withinMs);
      this.#waiting.add(done);
    });
  }

  async #disconnect(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    // node-postgres cuts a statement off that is under way.
    while (this.#state === 'lent') await this.#back();
    const client = this.#client;
    if (client === null || this.#listeners.size > 0) return;
    this.#client = null;
    this.#state = 'away';
    await client.end().catch(() => undefined);
  }
}
