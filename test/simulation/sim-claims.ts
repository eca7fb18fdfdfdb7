import type { ExecuteActivity } from '#lib/contracts/generated/messages.ts';
import type { AttemptClaims } from '#lib/worker/attempt-claims.ts';
import type { Life } from './life.ts';
import type { SimDatabase } from './sim-database.ts';
import type { Network, Server } from './sim-network.ts';

/** The table of claims over the network: on the Kafka profile a command may come twice, and is run once. */
export class SimAttemptClaims implements AttemptClaims {
  readonly #world: { readonly network: Network; readonly database: SimDatabase; readonly databaseServer: Server };
  readonly #life: Life;

  constructor(
    world: { readonly network: Network; readonly database: SimDatabase; readonly databaseServer: Server },
    life: Life,
  ) {
    this.#world = world;
    this.#life = life;
  }

  claim(commands: readonly ExecuteActivity[]): Promise<readonly ExecuteActivity[]> {
    const { network, database, databaseServer } = this.#world;
    return network.call(this.#life, databaseServer, `claim ${commands.length} attempts`, () =>
      commands.filter((command) => database.claimAttempt(command)),
    );
  }
}
