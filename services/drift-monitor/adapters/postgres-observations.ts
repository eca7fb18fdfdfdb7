import type { OutgoingMessage } from '#lib/bus/port.ts';
import { int4Array, int8Array, jsonbArray, textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, Queryable } from '#lib/postgres/database.ts';
import type { ObservationStore } from '../app/intake.ts';
import type { Observation } from '../domain/observation.ts';

const INSERT = {
  name: 'insert-observations',
  text: `insert into observations (project, model, model_version, observation_id, observed_at_ms, features, prediction, score, label)
         select * from unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::bigint[], $6::jsonb[], $7::text[], $8::float8[], $9::text[])
         on conflict do nothing`,
};

/** The table of `0006_drift_monitor.sql`; dead letters are published in the same transaction. */
export class PostgresObservations implements ObservationStore {
  readonly #database: Database;
  readonly #bus: { publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void> };

  constructor(
    database: Database,
    bus: { publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void> },
  ) {
    this.#database = database;
    this.#bus = bus;
  }

  async save(observations: readonly Observation[], deadLetters: readonly OutgoingMessage[]): Promise<number> {
    return this.#database.transaction(async (tx) => {
      const stored = observations.length === 0 ? 0 : (await tx.query(INSERT, columns(observations))).rowCount;
      await this.#bus.publishIn(tx, deadLetters);
      return stored;
    });
  }
}

const columns = (rows: readonly Observation[]): unknown[] => [
  textArray(rows.map((row) => row.project)),
  textArray(rows.map((row) => row.model)),
  int4Array(rows.map((row) => row.modelVersion)),
  textArray(rows.map((row) => row.observationId)),
  int8Array(rows.map((row) => row.observedAtMs)),
  jsonbArray(rows.map((row) => row.featuresJson)),
  textArray(rows.map((row) => row.prediction)),
  rows.map((row) => row.score),
  textArray(rows.map((row) => row.label)),
];
