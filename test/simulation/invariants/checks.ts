import type { Position, ReceivedMessage } from '#lib/bus/port.ts';
import type { ModelVersion } from '#lib/model-registry/port.ts';
import type { ActivityContext } from '#lib/worker/activity.ts';
import type { Commit } from '../../../services/orchestrator/app/commit.ts';
import type { WorkflowRegistry } from '../../../services/orchestrator/domain/workflows/registry.ts';
import type { Accepted } from '../client.ts';
import { JOB_KINDS } from '../job-kinds.ts';
import type { Life } from '../life.ts';
import type { LedgerEntry } from '../release-tables.ts';
import type { SimDatabase } from '../sim-database.ts';
import type { ObjectTable } from '../sim-object-store.ts';
import type { Simulator } from '../simulator.ts';
import { AnswerInvariant } from './answer-invariant.ts';
import { BudgetInvariant } from './budget-invariant.ts';
import { DeliveryInvariant } from './delivery-invariant.ts';
import { EndInvariant } from './end-invariant.ts';
import { FamilyInvariant } from './family-invariant.ts';
import { LaneInvariant } from './lane-invariant.ts';
import { LogInvariant } from './log-invariant.ts';
import { PlacementInvariant } from './placement-invariant.ts';
import { ReleaseInvariant } from './release-invariant.ts';
import { VersionInvariant } from './version-invariant.ts';
import { Violations } from './violations.ts';

/**
 * All checkers of a run. State changes only in transactions, publications and starts of attempts; every one of them is looked at, in the step in which
 * it happens, so that looking after each step would find nothing more.
 */
export class Checks {
  readonly violations: Violations;
  readonly #log: LogInvariant;
  readonly #delivery: DeliveryInvariant;
  readonly #lanes: LaneInvariant;
  readonly #placements: PlacementInvariant;
  readonly #budget: BudgetInvariant;
  readonly #versions: VersionInvariant;
  readonly #answers: AnswerInvariant;
  readonly #family: FamilyInvariant;
  readonly #releases: ReleaseInvariant;
  readonly #end: EndInvariant;

  constructor(scene: {
    sim: Simulator;
    database: SimDatabase;
    objects: ObjectTable;
    registry: WorkflowRegistry;
    slots: ReadonlyMap<string, number>;
    atLeastOnce: boolean;
  }) {
    const { database, objects, registry, slots } = scene;
    this.violations = new Violations(scene.sim);
    this.#log = new LogInvariant(
      this.violations,
      JOB_KINDS.map(({ machine }) => machine),
    );
    this.#delivery = new DeliveryInvariant(this.violations, this.#log);
    this.#lanes = new LaneInvariant(this.violations);
    this.#placements = new PlacementInvariant(this.violations, database, slots, {
      atLeastOnce: scene.atLeastOnce,
    });
    this.#budget = new BudgetInvariant(this.violations, database);
    this.#versions = new VersionInvariant(this.violations, database, objects);
    this.#answers = new AnswerInvariant(this.violations, database, scene.sim);
    this.#family = new FamilyInvariant(this.violations, database);
    this.#releases = new ReleaseInvariant(this.violations, database);
    this.#end = new EndInvariant(this.violations, database, registry);
  }

  committed(commit: Commit): void {
    this.#log.appended(commit.events);
    this.#lanes.saved(commit.activities);
    this.#placements.committed(commit);
    this.#family.committed(commit);
    this.#releases.committed(commit);
    if (commit.jobs.length > 0) this.#budget.check();
  }

  published(message: ReceivedMessage): void {
    this.#delivery.appended(message);
    this.#placements.published(message);
    this.#end.appended(message);
    if (message.headers['ce_type'] === 'StartWorkflow') this.#budget.checkWithinBudget();
  }

  positionsCommitted(groupId: string, positions: readonly Position[]): void {
    this.#delivery.committed(groupId, positions);
  }

  promoted(entry: LedgerEntry): void {
    this.#releases.promoted(entry);
  }

  versionCreated(version: ModelVersion): void {
    this.#versions.created(version);
  }

  attemptStarted(context: ActivityContext, life: Life): void {
    this.#placements.attemptStarted(context, life);
  }

  attemptEnded(context: ActivityContext, life: Life): void {
    this.#answers.attemptEnded(context, life);
  }

  /** Nothing happens any more until some time comes. */
  quiet(): void {
    this.#family.quiet();
  }

  atEnd(accepted: readonly Accepted[]): void {
    this.#answers.atEnd();
    this.#budget.check();
    this.#budget.checkUsage();
    this.#family.atEnd();
    this.#releases.atEnd();
    this.#end.check(accepted);
  }
}
