import type { OutgoingMessage } from '#lib/bus/port.ts';
import { textArray } from '#lib/postgres/binary-arrays.ts';
import type { Database, NamedStatement, Queryable } from '#lib/postgres/database.ts';
import { type CanaryState, startCanary } from '#lib/statistics/canary.ts';
import type { CanaryStore, LookResult, OpenSplit, OverruledSplit, Watch } from '../app/watch-canaries.ts';
import { addAnswers, type ArmValues } from '../domain/canary-arms.ts';

const OPEN: NamedStatement = {
  name: 'canary-open-splits',
  text: `select s.id, s.project, s.model, s.job_id as "jobId", s.workflow_id as "workflowId", s.canary_version as "canaryVersion",
           s.baseline_version as "baselineVersion", s.started_at_ms as "startedAtMs", s.policy,
           coalesce(w.looked_at_ms, s.started_at_ms) as "lookedAtMs", w.verdict_sent_at_ms is not null as decided
         from traffic_splits s left join canary_watches w on w.split_id = s.id
         where s.ended_at_ms is null order by s.id`,
};

const OVERRULED: NamedStatement = {
  name: 'canary-overruled-splits',
  text: `select s.id, s.model, s.job_id as "jobId", s.workflow_id as "workflowId", s.outcome,
           h.prod_version is not distinct from s.canary_version as "canaryInProd"
         from traffic_splits s left join canary_watches w on w.split_id = s.id
           left join promotion_heads h on h.project = s.project and h.model = s.model
         where s.outcome in ('superseded', 'refused') and w.verdict_sent_at_ms is null order by s.id`,
};

/** Keeps what was seen of it until then. */
const TELL: NamedStatement = {
  name: 'canary-tell',
  text: `insert into canary_watches as w (split_id, state, looked_at_ms, verdict_sent_at_ms)
         select s.id, $2::jsonb || jsonb_build_object('startedAtMs', s.started_at_ms) || $3::jsonb, $4, $4 from traffic_splits s where s.id = $1
         on conflict (split_id) do update set state = w.state || $3::jsonb, verdict_sent_at_ms = excluded.verdict_sent_at_ms
         where w.verdict_sent_at_ms is null`,
};

/** Nothing for a split that is over by now. */
const BEGIN: NamedStatement = {
  name: 'canary-begin',
  text: `insert into canary_watches (split_id, state, looked_at_ms)
         select s.id, jsonb_set($2::jsonb, '{startedAtMs}', to_jsonb(s.started_at_ms)), s.started_at_ms from traffic_splits s
         where s.id = $1 and s.ended_at_ms is null
         on conflict do nothing`,
};

/** A watch that an older release began has no period: its first. */
const WATCH = `select '{"period": 0}'::jsonb || w.state as state, w.since_look as "sinceLook",
    exists (select 1 from canary_units u where u.split_id = $1) as "unitsSeen"
  from canary_watches w where w.split_id = $1 and w.verdict_sent_at_ms is null for update of w`;
const LOCK: NamedStatement = { name: 'canary-lock', text: WATCH };
const TRY_LOCK: NamedStatement = { name: 'canary-try-lock', text: `${WATCH} skip locked` };

const SEEN: NamedStatement = {
  name: 'canary-seen',
  text: `insert into canary_seen (split_id, observation_id, at_ms) select $1, u, $3 from unnest($2::text[]) u
         on conflict do nothing returning observation_id as id`,
};

const UNITS: NamedStatement = {
  name: 'canary-units',
  text: `insert into canary_units (split_id, unit) select $1, u from unnest($2::text[]) u on conflict do nothing returning unit`,
};

const ADD: NamedStatement = {
  name: 'canary-add',
  text: 'update canary_watches set since_look = $2::jsonb where split_id = $1',
};

const LOOKED: NamedStatement = {
  name: 'canary-looked',
  text: `update canary_watches set state = $2::jsonb, since_look = '{}', looked_at_ms = $3, verdict_sent_at_ms = $4::bigint where split_id = $1`,
};

const FORGET: NamedStatement = { name: 'canary-forget', text: 'delete from canary_seen where at_ms < $1' };
const FORGET_SPLIT: NamedStatement = {
  name: 'canary-forget-split',
  text: 'with units as (delete from canary_units where split_id = $1) delete from canary_seen where split_id = $1',
};

/** In the next period everybody counts again. */
const FORGET_UNITS: NamedStatement = {
  name: 'canary-forget-units',
  text: 'delete from canary_units where split_id = $1',
};

type Publisher = { publishIn(tx: Queryable, messages: readonly OutgoingMessage[]): Promise<void> };

/** The tables of `0012_promotion_and_traffic.sql` and what `0015` and `0017` add; a verdict is published in the transaction that stores it. */
export class PostgresCanaries implements CanaryStore {
  readonly #database: Database;
  readonly #bus: Publisher;

  constructor(database: Database, bus: Publisher) {
    this.#database = database;
    this.#bus = bus;
  }

  async openSplits(): Promise<readonly OpenSplit[]> {
    return (await this.#database.query<OpenSplit>(OPEN)).rows;
  }

  async add(splitId: number, answers: readonly ArmValues[], nowMs: number): Promise<number> {
    return this.#database.transaction(async (tx) => {
      const watch = await lock(tx, splitId, LOCK);
      if (watch === null) return 0;
      const ids = textArray(answers.map(({ observationId }) => observationId));
      const fresh = (await tx.query<{ id: string }>(SEEN, [splitId, ids, nowMs])).rows;
      const left = new Set(fresh.map(({ id }) => id));
      // Within the batch, too, the first of the same id counts.
      const single = answers.filter(({ observationId }) => left.delete(observationId));
      const counted = await this.#firstOfUnits(tx, splitId, single);
      await tx.query(ADD, [splitId, JSON.stringify(addAnswers(watch.sinceLook, counted))]);
      return counted.length;
    });
  }

  async #firstOfUnits(tx: Queryable, splitId: number, answers: readonly ArmValues[]): Promise<readonly ArmValues[]> {
    const units = answers.flatMap(({ unit }) => unit ?? []);
    if (units.length === 0) return answers;
    const fresh = (await tx.query<{ unit: string }>(UNITS, [splitId, textArray([...new Set(units)])])).rows;
    const left = new Set(fresh.map(({ unit }) => unit));
    return answers.filter(({ unit }) => unit === null || left.delete(unit));
  }

  async look(splitId: number, look: (watch: Watch) => LookResult, nowMs: number): Promise<boolean> {
    return this.#database.transaction(async (tx) => {
      const watch = await lock(tx, splitId, TRY_LOCK);
      if (watch === null) return false;
      const { state, verdict } = look(watch);
      if (state.period !== watch.state.period) await tx.query(FORGET_UNITS, [splitId]);
      await tx.query(LOOKED, [splitId, JSON.stringify(state), nowMs, verdict === null ? null : nowMs]);
      if (verdict !== null) {
        await tx.query(FORGET_SPLIT, [splitId]);
        await this.#bus.publishIn(tx, [verdict]);
      }
      return true;
    });
  }

  async overruledSplits(): Promise<readonly OverruledSplit[]> {
    return (await this.#database.query<OverruledSplit>(OVERRULED)).rows;
  }

  async tell(
    splitId: number,
    outcome: CanaryState['outcome'],
    verdict: OutgoingMessage,
    nowMs: number,
  ): Promise<boolean> {
    return this.#database.transaction(async (tx) => {
      const end = JSON.stringify({ outcome, decidedAtMs: nowMs });
      const { rowCount } = await tx.query(TELL, [splitId, JSON.stringify(startCanary(0)), end, nowMs]);
      if (rowCount === 0) return false;
      await tx.query(FORGET_SPLIT, [splitId]);
      await this.#bus.publishIn(tx, [verdict]);
      return true;
    });
  }

  async forgetSeen(beforeMs: number): Promise<void> {
    await this.#database.query(FORGET, [beforeMs]);
  }
}

async function lock(tx: Queryable, splitId: number, statement: NamedStatement): Promise<Watch | null> {
  await tx.query(BEGIN, [splitId, JSON.stringify(startCanary(0))]);
  return (await tx.query<Watch>(statement, [splitId])).rows[0] ?? null;
}
