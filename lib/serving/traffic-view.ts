import type { Database } from '#lib/postgres/database.ts';
import type { Listener } from '#lib/postgres/listening-connection.ts';
import type { TrafficStore } from './port.ts';
import type { OpenTraffic } from './split.ts';

/** Channels of migration 0012; their payload is `["project", "model"]`, empty after a reconnection. */
const CHANNELS = ['model_stages', 'traffic_splits'];

/** No answer is older than this, also when a notification is lost. */
const MAX_AGE_MS = 1_000;

/** Models remembered; the one that was read longest ago goes first. */
const MAX_MODELS = 10_000;

interface Entry {
  readonly readAtMs: number;
  readonly traffic: Promise<OpenTraffic>;
}

/**
 * The traffic of models, from memory: at most a second old, mostly much less, since changes are notified. It listens from the first question on. A
 * database that cannot be reached is an error and not an old answer: the version in memory may be the one that was rolled back.
 */
export class TrafficView {
  readonly #store: Pick<TrafficStore, 'trafficOf'>;
  readonly #database: Pick<Database, 'listen'>;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();
  #listener: Listener | null = null;
  #closed = false;

  /** `now`: a clock that does not jump, in ms. */
  constructor(
    store: Pick<TrafficStore, 'trafficOf'>,
    database: Pick<Database, 'listen'>,
    now = () => performance.now(),
  ) {
    this.#store = store;
    this.#database = database;
    this.#now = now;
  }

  async trafficOf(project: string, model: string): Promise<OpenTraffic> {
    if (!this.#closed) this.#listener ??= this.#database.listen(CHANNELS, (_channel, payload) => this.#forget(payload));
    const key = JSON.stringify([project, model]);
    const known = this.#entries.get(key);
    if (known !== undefined && this.#now() - known.readAtMs < MAX_AGE_MS) return known.traffic;
    this.#entries.delete(key);
    // Its age counts from before it was asked for.
    const entry = { readAtMs: this.#now(), traffic: this.#store.trafficOf(project, model) };
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_MODELS) this.#entries.delete(this.#entries.keys().next().value ?? key);
    entry.traffic.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return entry.traffic;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#listener?.close();
  }

  #forget(payload: string): void {
    if (payload === '') this.#entries.clear();
    else this.#entries.delete(keyOf(payload));
  }
}

/** PostgreSQL writes a space after a comma. */
function keyOf(payload: string): string {
  try {
    return JSON.stringify(JSON.parse(payload));
  } catch {
    return '';
  }
}
