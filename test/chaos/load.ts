import { setTimeout as delay } from 'node:timers/promises';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import { FINAL_STATUSES, type JobStatus } from '#lib/contracts/jobs.ts';
import { messageOf } from '#lib/kernel/errors.ts';
import type { BusDoor } from './bus-door.ts';
import { chaosJob, type ChaosJob, mayLoseTrainer } from './job-mix.ts';
import { isRefusal, patiently } from './patience.ts';
import { PROJECT, type Site } from './site.ts';

/** A job of the load that was accepted. */
export interface AcceptedJob {
  readonly job: ChaosJob;
  readonly id: string;
  status: JobStatus | null;
  trainerStruck: boolean;
}

const POLL_MS = 200;
/** A record on the bus must have its job by then, whatever was down meanwhile. */
const ANSWER_WITHIN_MS = 120_000;

/** Keeps a number of jobs in flight: as soon as one has ended, the next is submitted. */
export class Load {
  readonly #site: Site;
  readonly #door: BusDoor;
  readonly #seed: number;
  readonly #jobs = new Map<string, AcceptedJob>();
  readonly #violations: string[] = [];
  readonly #users: Promise<void>[] = [];
  readonly #background = new Set<Promise<void>>();
  readonly #looking: Promise<void>;
  #next = 1;
  #stopping = false;
  #closed = false;

  constructor(options: { site: Site; door: BusDoor; seed: number; concurrent: number }) {
    this.#site = options.site;
    this.#door = options.door;
    this.#seed = options.seed;
    this.#looking = this.#look();
    for (let user = 0; user < options.concurrent; user++) this.#users.push(this.#user());
  }

  /** By job id. */
  get jobs(): ReadonlyMap<string, AcceptedJob> {
    return this.#jobs;
  }

  /** What callers saw that must not be. */
  get violations(): readonly string[] {
    return this.#violations;
  }

  get ended(): number {
    return [...this.#jobs.values()].filter(({ status }) => status !== null).length;
  }

  /** Says yes once for a job whose training program may be struck, and remembers it: its retries are few. */
  readonly mayStrike = (jobId: string): boolean => {
    const found = this.#jobs.get(jobId);
    if (found === undefined || found.trainerStruck || !mayLoseTrainer(found.job)) return false;
    return true;
  };

  struck(jobId: string): void {
    const found = this.#jobs.get(jobId);
    if (found !== undefined) found.trainerStruck = true;
  }

  /** Submits no more and waits until every accepted job has ended; answers how many have not within the bound. */
  async drain(withinMs: number): Promise<number> {
    this.#stopping = true;
    const deadline = Date.now() + withinMs;
    const users = Promise.all(this.#users);
    const bound = new AbortController();
    await Promise.race([users, delay(Math.max(0, deadline - Date.now()), undefined, bound)]).finally(() =>
      bound.abort(),
    );
    this.#closed = true;
    await this.#looking;
    await Promise.allSettled(this.#background);
    return this.#jobs.size - this.ended;
  }

  async #user(): Promise<void> {
    while (!this.#stopping) {
      const job = chaosJob(this.#seed, this.#next++);
      try {
        const id = await (job.door === 'rest' ? this.#byRest(job) : this.#byRecord(job));
        const accepted: AcceptedJob = { job, id, status: null, trainerStruck: false };
        this.#jobs.set(id, accepted);
        if (job.cancelAfterMs !== null) this.#inBackground(this.#cancel(job, id, job.cancelAfterMs));
        while (accepted.status === null && !this.#closed) await delay(POLL_MS);
      } catch (error) {
        this.#violations.push(`job ${job.key} (${job.door}) was not accepted: ${messageOf(error)}`);
      }
    }
  }

  async #byRest(job: ChaosJob): Promise<string> {
    const submit = (): Promise<string> =>
      patiently(async () => (await this.#site.client.submit(job.body)).id, isRefusal);
    const id = await submit();
    if (!job.twice) return id;
    const again = await submit();
    if (again !== id) this.#violations.push(`job ${job.key} is ${id} and, asked for again, ${again}`);
    return id;
  }

  async #byRecord(job: ChaosJob): Promise<string> {
    const { type, idempotencyKey, spec } = job.body as { type: string; idempotencyKey: string; spec: object };
    const message = encodeMessage(this.#door.codec, {
      topic: 'jobs.requests',
      key: PROJECT,
      type: 'JobRequested',
      payload: {
        project: PROJECT,
        idempotencyKey,
        jobType: type,
        priority: null,
        specJson: JSON.stringify(spec),
        labels: {},
        description: '',
      },
      envelope: { id: `request-${job.key}`, source: '/chaos', timeMs: Date.now() },
    });
    const headers = { ...message.headers, authorization: `Bearer ${this.#site.adminKey}` };
    for (let time = 0; time < (job.twice ? 2 : 1); time++)
      await patiently(() => this.#door.publish({ ...message, headers }));
    for (const deadline = Date.now() + ANSWER_WITHIN_MS; Date.now() < deadline; await delay(POLL_MS)) {
      const rows = await this.#rows<{ id: string }>(
        'select id from jobs where project = $1 and idempotency_key = $2',
        PROJECT,
        idempotencyKey,
      );
      if (rows[0] !== undefined) return rows[0].id;
    }
    throw new Error(`no job within ${ANSWER_WITHIN_MS / 1_000} s of its record`);
  }

  /** A job that has ended before cannot be cancelled any more: a refusal, and right. */
  async #cancel(job: ChaosJob, id: string, afterMs: number): Promise<void> {
    await delay(afterMs);
    try {
      await patiently(() => this.#site.client.cancel(id), isRefusal);
    } catch (error) {
      if (!isRefusal(error)) this.#violations.push(`job ${job.key} could not be cancelled: ${messageOf(error)}`);
    }
  }

  #inBackground(work: Promise<void>): void {
    const entry = work.finally(() => this.#background.delete(entry));
    this.#background.add(entry);
  }

  /** One look for all jobs in flight instead of one a job. */
  async #look(): Promise<void> {
    while (!this.#closed) {
      const open = [...this.#jobs.values()].filter(({ status }) => status === null).map(({ id }) => id);
      const rows = await this.#rows<{ id: string; status: JobStatus }>(
        'select id, status from jobs where id = any ($1)',
        open,
      );
      for (const { id, status } of rows) {
        const found = this.#jobs.get(id);
        if (found !== undefined && FINAL_STATUSES.includes(status)) found.status = status;
      }
      await delay(POLL_MS);
    }
  }

  /** Nothing while the database is away. */
  async #rows<Row>(statement: string, ...values: unknown[]): Promise<Row[]> {
    try {
      return (await this.#site.database.query<Row>(statement, values)).rows;
    } catch {
      return [];
    }
  }
}
