import type { OutgoingMessage } from '#lib/bus/port.ts';
import { JOB_STATUS, type JobStatus } from '#lib/contracts/jobs.ts';
import type {
  DatasetVersion,
  Inserted,
  JobFailure,
  JobRow,
  JobStore,
  SnapshotQuery,
  SubmissionSnapshot,
} from '../../services/gateway/app/ports.ts';
import type { Budget } from '../../services/gateway/domain/budget.ts';
import type { Life } from './life.ts';
import type { SimOutbox } from './sim-outbox.ts';
import type { StoreWorld } from './sim-orchestrator-store.ts';

const NO_VERDICT: readonly JobStatus[] = [
  JOB_STATUS.skipped,
  JOB_STATUS.failed,
  JOB_STATUS.cancelled,
  JOB_STATUS.timedOut,
];

/** The gateway's tables over the network. Messages appear with the transaction, as on the embedded profile. */
export class SimJobStore implements JobStore {
  readonly #world: StoreWorld;
  readonly #life: Life;
  readonly #datasets: readonly Omit<DatasetVersion, 'project'>[];
  readonly #outbox: SimOutbox | null;

  /** `outbox`: where messages go that cannot be part of the transaction; null on the embedded profile. */
  constructor(
    world: StoreWorld,
    life: Life,
    datasets: readonly Omit<DatasetVersion, 'project'>[],
    outbox: SimOutbox | null,
  ) {
    this.#world = world;
    this.#life = life;
    this.#datasets = datasets;
    this.#outbox = outbox;
  }

  snapshot(query: SnapshotQuery): Promise<SubmissionSnapshot | null> {
    const { database } = this.#world;
    return this.#call('snapshot', () => {
      if (!database.budget.projects.has(query.project)) return null;
      const existing = [...database.jobs.values()].find(
        (job) => job.project === query.project && job.idempotencyKey === query.idempotencyKey,
      );
      return {
        budget: this.#budget(query.project),
        existing: existing ?? null,
        datasets: query.datasets.map(({ name }) => {
          const dataset = this.#datasets.find((each) => each.name === name);
          return { known: dataset !== undefined, version: dataset ? { ...dataset, project: query.project } : null };
        }),
        lastRetrainAtMs: this.#lastRetrain(query),
      };
    });
  }

  async insert(job: JobRow, messages: readonly OutgoingMessage[]): Promise<Inserted> {
    const { database } = this.#world;
    const kind = await this.#call(`insert ${job.workflowId}`, () =>
      database.insertJob(job, () => this.#publish(messages)),
    );
    if (kind === 'created') return { kind };
    if (kind === 'overBudget') return { kind, budget: await this.#call('budget', () => this.#budget(job.project)) };
    const found = await this.#call('job by key', () =>
      [...database.jobs.values()].find(
        (other) => other.project === job.project && other.idempotencyKey === job.idempotencyKey,
      ),
    );
    return { kind: 'exists', job: found ?? null };
  }

  find(id: string, project: string | null): Promise<JobRow | null> {
    const { database } = this.#world;
    return this.#call('find', () => {
      const job = database.jobs.get(id);
      return job === undefined || (project !== null && job.project !== project) ? null : job;
    });
  }

  publishWhile(
    id: string,
    statuses: readonly JobStatus[],
    messages: readonly OutgoingMessage[],
  ): Promise<{ job: JobRow; published: boolean } | null> {
    const { database } = this.#world;
    return this.#call('publish while', () => {
      const job = database.jobs.get(id);
      if (job === undefined) return null;
      if (!statuses.includes(job.status)) return { job, published: false };
      this.#publish([...database.waitingIn(messages), ...messages]);
      return { job, published: true };
    });
  }

  snapshots(): Promise<readonly (SubmissionSnapshot | null)[]> {
    throw new Error('the ingress of records is not simulated');
  }

  insertAll(): Promise<ReadonlySet<string>> {
    throw new Error('the ingress of records is not simulated');
  }

  publish(messages: readonly OutgoingMessage[]): Promise<void> {
    return this.#call('publish', () => this.#publish(messages));
  }

  failureOf({ id, workflowId }: Pick<JobRow, 'id' | 'workflowId'>): Promise<JobFailure> {
    const { database } = this.#world;
    return this.#call('failure', () => {
      const failed = database.activitiesOf(workflowId).filter(({ state }) => state === 'failed');
      const child = [...database.jobs.values()].find(
        ({ parentJobId, status }) => parentJobId === id && status === JOB_STATUS.failed,
      );
      const singleStep = failed.length === 1 && failed[0]?.activityId === failed[0]?.name;
      return { singleStep, childId: child?.id ?? null };
    });
  }

  change(): Promise<JobRow | null> {
    throw new Error('labels are not simulated');
  }

  hide(): Promise<boolean> {
    throw new Error('deleting jobs is not simulated');
  }

  /** Part of the transaction; outside the database, its process hears of the commit and publishes. */
  #publish(messages: readonly OutgoingMessage[]): void {
    const { broker } = this.#world.bus;
    const outbox = this.#outbox;
    if (outbox === null) return broker.append(broker.route(messages));
    const row = this.#world.database.appendOutbox(messages, this.#world.sim.nowMs);
    this.#world.network.notify(this.#life, 'outbox', 'notification lost', () => outbox.committed(row));
  }

  /** Of the model, running or come to a verdict; epoch ms. */
  #lastRetrain({ project, retrainOf }: SnapshotQuery): number | null {
    if (retrainOf === null) return null;
    const times = [...this.#world.database.jobs.values()].flatMap((job) => {
      const model = (job.spec as { model?: { name?: string } }).model?.name;
      const counts = job.type === 'retrain' && job.project === project && !NO_VERDICT.includes(job.status);
      return counts && model === retrainOf ? [job.submittedAt.getTime()] : [];
    });
    return times.length === 0 ? null : Math.max(...times);
  }

  #budget(project: string): Budget {
    const row = this.#world.database.budget.projects.get(project);
    return {
      gpuSecondsBudget: row?.gpuSecondsBudget ?? 0,
      gpuSecondsReserved: row?.gpuSecondsReserved ?? 0,
      gpuSecondsUsed: row?.gpuSecondsUsed ?? 0,
    };
  }

  #call<T>(what: string, effect: () => T): Promise<T> {
    return this.#world.network.call(this.#life, this.#world.databaseServer, what, effect);
  }
}
