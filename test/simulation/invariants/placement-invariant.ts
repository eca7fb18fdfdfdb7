import type { ReceivedMessage } from '#lib/bus/port.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { Commit } from '../../../services/orchestrator/app/commit.ts';
import type { Life } from '../life.ts';
import type { SimDatabase, StoredActivity } from '../sim-database.ts';
import { RULES } from './rules.ts';
import type { Violations } from './violations.ts';

/** Who was given what, and who runs it: leases, slots, caps. */
export class PlacementInvariant {
  readonly #violations: Violations;
  readonly #database: SimDatabase;
  readonly #slots: ReadonlyMap<string, number>;
  /** Lane partition and copies of the command of an attempt, by workflow, activity and epoch. */
  readonly #commands = new Map<string, { readonly partition: number; copies: number }>();
  /** The worker that an attempt was placed on, by workflow, activity and epoch. */
  readonly #placedOn = new Map<string, string>();
  /** The process that runs an attempt, by workflow, activity and epoch. */
  readonly #runners = new Map<string, string>();
  readonly #running = new Set<string>();
  readonly #atLeastOnce: boolean;

  /** `atLeastOnce`: commands may be published more than once (Kafka profile). */
  constructor(
    violations: Violations,
    database: SimDatabase,
    slots: ReadonlyMap<string, number>,
    options: { atLeastOnce: boolean },
  ) {
    this.#violations = violations;
    this.#database = database;
    this.#slots = slots;
    this.#atLeastOnce = options.atLeastOnce;
  }

  committed(commit: Commit): void {
    const placed = new Set<string>();
    const rows = [...commit.activities, ...commit.remotePlacements].flatMap(({ workflowId, activityId }) => {
      const row = this.#database.activity(workflowId, activityId);
      return row === undefined ? [] : [row];
    });
    for (const row of rows) {
      if (row.state !== 'placed' || row.workerId === null) continue;
      const key = attemptOf(row);
      if (this.#placedOn.has(key)) continue;
      this.#placedOn.set(key, row.workerId);
      placed.add(row.workerId);
    }
    for (const workerId of placed) this.#checkSlots(workerId);
    this.#checkCaps(commit);
  }

  /** A command was published: two commands of one attempt must be copies of each other. */
  published(message: ReceivedMessage): void {
    if (message.headers['ce_type'] !== 'ExecuteActivity') return;
    const id = (message.headers['ce_id'] ?? '').replace(/^exec:/, '');
    const { partition, copies } = this.#commands.get(id) ?? { partition: message.partition, copies: 0 };
    this.#commands.set(id, { partition, copies: copies + 1 });
    this.#violations.check(
      RULES.oneHolder,
      partition === message.partition && (copies === 0 || this.#atLeastOnce),
      () => `${id} was sent ${copies + 1} times, to partitions ${partition} and ${message.partition}`,
    );
  }

  /** Where messages are published with the commit there is one copy of a command; elsewhere copies come, and one of them is claimed. */
  attemptStarted({ workflowId, activityId, epoch }: ActivityContext, life: Life): void {
    const key = attemptOf({ workflowId, activityId, epoch });
    const before = this.#runners.get(key);
    this.#runners.set(key, life.name);
    this.#violations.check(
      RULES.oneRun,
      before === undefined && this.#commands.has(key),
      () => `${key} runs on ${before} and on ${life.name}`,
    );
  }

  #checkSlots(workerId: string): void {
    const slots = this.#slots.get(workerId) ?? 0;
    const taken: string[] = [];
    for (const row of this.#database.activities.values())
      if (
        (row.state === 'placed' || row.state === 'running') &&
        row.workerId === workerId &&
        this.#placedOn.get(attemptOf(row)) === workerId &&
        this.#isOpen(row) &&
        this.#ofThisLife(row)
      )
        taken.push(attemptOf(row));
    this.#violations.check(
      RULES.slots,
      taken.length <= slots,
      () => `${workerId} has ${slots} slots and holds ${taken.join(', ')}`,
    );
  }

  #checkCaps(commit: Commit): void {
    for (const row of commit.workflows) {
      // Retried: it needs a place again.
      if (!row.running) this.#running.delete(row.workflowId);
      // A child runs in its parent's place.
      if (!row.running || row.parent !== null || this.#running.has(row.workflowId)) continue;
      this.#running.add(row.workflowId);
      const cap = this.#database.budget.projects.get(row.project)?.maxRunningWorkflows ?? 0;
      const others = [...this.#database.workflows.values()].filter(
        (other) => other.project === row.project && other.running && other.status === 'open' && other.parent === null,
      );
      this.#violations.check(
        RULES.cap,
        others.length <= cap,
        () => `${row.project} may run ${cap}: ${others.map((other) => other.workflowId).join(', ')}`,
      );
    }
  }

  /** A worker that announced a new life runs nothing of the former one, although the lease may take a moment to end. */
  #ofThisLife({ workerId, incarnation }: StoredActivity): boolean {
    return incarnation === null || incarnation === this.#database.workers.get(workerId ?? '')?.incarnation;
  }

  #isOpen(row: StoredActivity): boolean {
    return this.#database.workflows.get(row.workflowId)?.status === 'open';
  }
}

const attemptOf = (attempt: { workflowId: string; activityId: string; epoch: number }): string =>
  `${attempt.workflowId}:${attempt.activityId}:${attempt.epoch}`;
