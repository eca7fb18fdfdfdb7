import { setTimeout as delay } from 'node:timers/promises';
import { encodeMessage } from '#lib/contracts/envelope.ts';
import type { BusDoor } from './bus-door.ts';
import { PROJECT, type Site } from './site.ts';

export interface Sample {
  /** Epoch ms before and after the look. */
  readonly fromMs: number;
  readonly atMs: number;
  readonly value: number;
}

/** What only somebody who looks all the time sees. */
export interface Watched {
  /** Requests that the gateway answered (value 1) or not (0). */
  readonly answers: readonly Sample[];
  /** Observations that the drift monitor had stored. */
  readonly observations: readonly Sample[];
  /** Rows in the outbox, and the age in ms of its oldest. */
  readonly outbox: readonly (Sample & { readonly oldestMs: number })[];
  readonly observationsSent: number;
}

const PROBE_EVERY_MS = 100;
const PROBE_TIMEOUT_MS = 1_000;
const LOOK_EVERY_MS = 250;

/** Asks the gateway, feeds the drift monitor and looks into the database until it is told to stop. */
export class Watch {
  readonly #site: Site;
  readonly #door: BusDoor;
  readonly #answers: Sample[] = [];
  readonly #observations: Sample[] = [];
  readonly #outbox: (Sample & { oldestMs: number })[] = [];
  readonly #loops: Promise<void>[];
  #sent = 0;
  #stopped = false;

  constructor(site: Site, door: BusDoor) {
    this.#site = site;
    this.#door = door;
    this.#loops = [
      this.#repeat(PROBE_EVERY_MS, () => this.#probe()),
      this.#repeat(LOOK_EVERY_MS, () => this.#observe()),
      this.#repeat(LOOK_EVERY_MS, () => this.#look()),
    ];
  }

  async stop(): Promise<Watched> {
    this.#stopped = true;
    await Promise.all(this.#loops);
    return {
      answers: this.#answers,
      observations: this.#observations,
      outbox: this.#outbox,
      observationsSent: this.#sent,
    };
  }

  async #repeat(everyMs: number, work: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      // What is down does not answer; that is what is recorded.
      await work().catch(() => undefined);
      await delay(everyMs);
    }
  }

  async #probe(): Promise<void> {
    const fromMs = Date.now();
    const ok = await fetch(`${this.#site.platform.gatewayUrl}/v1/projects/${PROJECT}`, {
      headers: { authorization: `Bearer ${this.#site.adminKey}` },
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
    this.#answers.push({ fromMs, atMs: Date.now(), value: ok ? 1 : 0 });
  }

  /** The next observation; the same one again until the bus has taken it. */
  async #observe(): Promise<void> {
    const number = this.#sent + 1;
    await this.#door.publish(
      encodeMessage(this.#door.codec, {
        topic: 'production.observations',
        key: `model-${number % 8}`,
        type: 'ObservationRecorded',
        payload: {
          observationId: `observation-${number}`,
          project: PROJECT,
          model: `model-${number % 8}`,
          modelVersion: 1,
          observedAtMs: Date.now(),
          featuresJson: '{"length":12}',
          prediction: 'yes',
          score: 0.5,
          label: null,
          routingUnit: null,
        },
        envelope: { id: `observation-${number}`, source: '/chaos', timeMs: Date.now() },
      }),
    );
    this.#sent = number;
  }

  async #look(): Promise<void> {
    const fromMs = Date.now();
    const { rows } = await this.#site.database.query<{ observations: number; depth: number; oldest: number }>(
      `select (select count(*) from observations) as observations, count(*) as depth,
         coalesce(extract(epoch from clock_timestamp() - min(created_at)) * 1000, 0)::bigint as oldest from outbox`,
    );
    const [row] = rows;
    if (row === undefined) return;
    const at = { fromMs, atMs: Date.now() };
    this.#observations.push({ ...at, value: row.observations });
    this.#outbox.push({ ...at, value: row.depth, oldestMs: row.oldest });
  }
}
