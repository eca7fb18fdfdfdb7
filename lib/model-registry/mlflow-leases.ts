import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { TrainyardError } from '#lib/kernel/errors.ts';
import type { Database, NamedStatement, Queryable } from '#lib/postgres/database.ts';

/** The right to change one model or run. */
export interface Lease {
  /** Renews the lease when a tenth of its time is over. Called before every request. Throws `RegistryUnavailable` when it is lost. */
  confirm(): Promise<void>;
  /** A transaction that commits only while the lease is held. */
  write<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
}

export interface LeaseTimes {
  /** Nine tenths of it outlive the longest call to MLflow (36 s); others wait that long at most when a holder is killed. */
  readonly ttlMs: number;
  /** Longest wait for a lease that another holds. */
  readonly waitMs: number;
}

export const LEASE_TIMES: LeaseTimes = { ttlMs: 45_000, waitMs: 60_000 };

/** Pause between two looks at a lease that another process holds; jitter keeps many waiters from looking at once. */
const LOOK_EVERY_MS = 40;

const ACQUIRE: NamedStatement = {
  name: 'registry-mlflow-acquire-lease',
  text: `insert into registry_mlflow_leases as lease (resource, holder, held_until)
         values ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
         on conflict (resource) do update set holder = excluded.holder, held_until = excluded.held_until
           where lease.held_until < clock_timestamp()
         returning resource`,
};

const RENEW: NamedStatement = {
  name: 'registry-mlflow-renew-lease',
  text: `update registry_mlflow_leases set held_until = clock_timestamp() + $3 * interval '1 millisecond'
         where resource = $1 and holder = $2 returning resource`,
};

const RELEASE: NamedStatement = {
  name: 'registry-mlflow-release-lease',
  text: 'delete from registry_mlflow_leases where resource = $1 and holder = $2',
};

/**
 * One holder per resource over all processes, without a connection held meanwhile: a session or an open transaction with an advisory lock
 * would take one of the process's four connections for as long as MLflow is slow, and the server ends transactions that idle for 10 s.
 * The database's clock counts. A holder that froze finds its lease lost at its next request or write.
 */
export class Leases {
  readonly #database: Database;
  readonly #times: LeaseTimes;
  /** Callers of this process queue here, so that only one of them looks into the database. */
  readonly #queues = new Map<string, Promise<unknown>>();

  constructor(database: Database, times: LeaseTimes = LEASE_TIMES) {
    this.#database = database;
    this.#times = times;
  }

  /** Runs `work` as the only holder. `RegistryUnavailable` when another one holds the resource for too long. */
  async hold<T>(resource: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    const before = this.#queues.get(resource) ?? Promise.resolve();
    const mine = before.then(() => this.#holdNow(resource, work));
    const settled = mine.catch(() => undefined);
    this.#queues.set(resource, settled);
    try {
      return await mine;
    } finally {
      if (this.#queues.get(resource) === settled) this.#queues.delete(resource);
    }
  }

  async #holdNow<T>(resource: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    const holder = randomUUID();
    await this.#acquire(resource, holder);
    try {
      return await work(this.#lease(resource, holder));
    } finally {
      // When this fails, too, the lease runs out by itself.
      await this.#database.query(RELEASE, [resource, holder]).catch(() => undefined);
    }
  }

  async #acquire(resource: string, holder: string): Promise<void> {
    const { ttlMs, waitMs } = this.#times;
    const giveUpAt = performance.now() + waitMs;
    for (;;) {
      const { rows } = await this.#database.query(ACQUIRE, [resource, holder, ttlMs]);
      if (rows.length > 0) return;
      if (performance.now() >= giveUpAt)
        throw new TrainyardError('RegistryUnavailable', `${resource} is being changed by another process`);
      await delay(LOOK_EVERY_MS * (0.5 + Math.random()));
    }
  }

  #lease(resource: string, holder: string): Lease {
    const { ttlMs } = this.#times;
    let renewedAt = performance.now();
    const renew = async (db: Queryable): Promise<void> => {
      const { rows } = await db.query(RENEW, [resource, holder, ttlMs]);
      if (rows.length === 0)
        throw new TrainyardError('RegistryUnavailable', `the lease on ${resource} ran out and another process has it`);
      renewedAt = performance.now();
    };
    return {
      confirm: async () => {
        if (performance.now() - renewedAt > ttlMs / 10) await renew(this.#database);
      },
      write: (work) =>
        this.#database.transaction(async (tx) => {
          await renew(tx);
          return work(tx);
        }),
    };
  }
}
