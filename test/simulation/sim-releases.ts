import type { Stage } from '#lib/model-registry/port.ts';
import type { PromotionLedger } from '#lib/promotion/port.ts';
import type { ApprovalRow as Ticket, ApprovalStore } from '../../services/gateway/app/approvals.ts';
import type { Life } from './life.ts';
import type { OutboxWorld } from './sim-outbox.ts';

/** What the gateway reads of the promotion ledger, over the network. */
export class SimPromotions implements Pick<PromotionLedger, 'stages'> {
  readonly #world: OutboxWorld;
  readonly #life: Life;

  constructor(world: OutboxWorld, life: Life) {
    this.#world = world;
    this.#life = life;
  }

  stages(project: string, model: string): Promise<ReadonlyMap<number, Stage>> {
    const { network, database, databaseServer } = this.#world;
    return network.call(
      this.#life,
      databaseServer,
      'stages',
      () => database.releases.stages(project, model) as ReadonlyMap<number, Stage>,
    );
  }
}

/** The tickets as voters see them, over the network. */
export class SimApprovals implements ApprovalStore {
  readonly #world: OutboxWorld;
  readonly #life: Life;

  constructor(world: OutboxWorld, life: Life) {
    this.#world = world;
    this.#life = life;
  }

  find(id: string): Promise<Ticket | null> {
    const { network, database, databaseServer } = this.#world;
    return network.call(this.#life, databaseServer, 'find approval', () => {
      const row = database.releases.approvals.get(id);
      if (row === undefined) return null;
      const { project, jobId, workflowId, ticket } = row;
      return { ...ticket, id, project, jobId, workflowId };
    });
  }
}
