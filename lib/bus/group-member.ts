import { randomUUID } from 'node:crypto';
import { textArray } from '#lib/postgres/binary-arrays.ts';
import type { Queryable } from '#lib/postgres/database.ts';
import type { Position, TopicPartition } from './port.ts';

/** What a member shows with every commit; a commit for a partition it does not hold any more is refused. */
export interface Fence {
  readonly groupId: string;
  readonly memberId: string;
  readonly generation: number;
}

/** A partition of this member: its committed position and the generation that gave it. */
interface HeldPartition extends Position {
  readonly sinceGeneration: number;
}

export interface Holding {
  readonly memberId: string;
  readonly generation: number;
  readonly partitions: ReadonlyMap<string, HeldPartition>;
}

export interface MemberOptions {
  readonly groupId: string;
  readonly topics: readonly string[];
  readonly fromEnd: boolean;
  readonly sessionTimeoutMs: number;
  readonly instanceId: string | null;
}

export const partitionKey = (p: TopicPartition): string => `${p.topic}/${p.partition}`;

/** One membership of a consumer group: joins, keeps the session alive, re-joins after it was expelled, leaves. */
export class GroupMember {
  readonly #database: Queryable;
  readonly #options: MemberOptions;
  readonly #onChange: () => void;
  readonly #timer: NodeJS.Timeout;
  #memberId: string | null = null;
  /** Generation of the last `holding()`; a heartbeat that hears of another one calls `onChange`. */
  #seenGeneration = 0;
  #running: Promise<unknown> = Promise.resolve();
  #heartbeatUnderway = false;
  #left = false;
  #joinedBefore = false;

  /** `onChange` is called when the group may have given this member other partitions. */
  constructor(database: Queryable, options: MemberOptions, onChange: () => void) {
    this.#database = database;
    this.#options = options;
    this.#onChange = onChange;
    // Three tries per session: two lost ones must not cost the partitions.
    this.#timer = setInterval(() => this.#beat(), options.sessionTimeoutMs / 3);
    this.#timer.unref();
  }

  /** What the member holds now; joins first if it is no member (yet, or any more). Null once it has left. */
  holding(): Promise<Holding | null> {
    return this.#oneAtATime(async () => {
      for (let attempt = 0; !this.#left; attempt++) {
        if (this.#memberId === null) await this.#join();
        const holding = await this.#read();
        if (holding !== null) return holding;
        // Expelled: whatever was held is lost, and a new id keeps late commits of the old one out.
        this.#memberId = null;
        if (attempt === MAX_JOIN_ATTEMPTS)
          throw new Error(`expelled ${attempt} times in a row from ${this.#options.groupId}`);
      }
      return null;
    });
  }

  /** Tells the group, so that others take over at once; when the database does not hear it, the session runs out instead. */
  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    clearInterval(this.#timer);
    await this.#oneAtATime(async () => {
      if (this.#memberId === null) return;
      await this.#database
        .query('select bus_leave($1, $2)', [this.#options.groupId, this.#memberId])
        .catch(() => undefined);
      this.#memberId = null;
    });
  }

  async #join(): Promise<void> {
    const memberId = randomUUID();
    // Only the first join replaces the former member of the name: one that was expelled and joins again may itself be the former one.
    const replaces = this.#joinedBefore ? null : this.#options.instanceId;
    await this.#database.query('select bus_join($1, $2, $3, $4, $5, $6)', [
      this.#options.groupId,
      memberId,
      textArray(this.#options.topics),
      this.#options.fromEnd,
      this.#options.sessionTimeoutMs,
      replaces,
    ]);
    this.#joinedBefore = true;
    this.#memberId = memberId;
  }

  async #read(): Promise<Holding | null> {
    const memberId = this.#memberId ?? '';
    const { rows } = await this.#database.query<HoldingRow>(HOLDING, [this.#options.groupId, memberId]);
    const [first] = rows;
    if (first === undefined) return null;
    this.#seenGeneration = first.generation;
    const partitions = new Map<string, HeldPartition>();
    for (const row of rows) {
      if (row.topic === null) continue;
      const held = {
        topic: row.topic,
        partition: row.partition,
        nextOffset: row.next_offset,
        sinceGeneration: row.since,
      };
      partitions.set(partitionKey(held), held);
    }
    return { memberId, generation: first.generation, partitions };
  }

  #beat(): void {
    if (this.#heartbeatUnderway || this.#memberId === null) return;
    this.#heartbeatUnderway = true;
    // A heartbeat that fails is followed by the next; poll, publish and commit report that the database is away.
    this.#heartbeat(this.#memberId)
      .catch(() => undefined)
      .finally(() => {
        this.#heartbeatUnderway = false;
      });
  }

  async #heartbeat(memberId: string): Promise<void> {
    const { rows } = await this.#database.query<{ generation: number | null }>(HEARTBEAT, [
      this.#options.groupId,
      memberId,
    ]);
    if (rows[0]?.generation !== this.#seenGeneration) this.#onChange();
  }

  /** Join, read and leave of one member never overlap: a late join must not outlive the leave. */
  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#running.then(work);
    this.#running = result.catch(() => undefined);
    return result;
  }
}

/** Being expelled between join and read takes a pause of a whole session timeout each time. */
const MAX_JOIN_ATTEMPTS = 5;

interface HoldingRow {
  readonly generation: number;
  readonly topic: string | null;
  readonly partition: number;
  readonly next_offset: number;
  readonly since: number;
}

/** No row: not a member. One row without topic: a member without partitions. One statement, so generation and owners agree. */
const HOLDING = {
  name: 'bus_holding',
  text: `select g.generation, o.topic, o.partition, o.next_offset, o.since_generation as since
from bus_members m join bus_groups g on g.group_id = m.group_id
left join bus_offsets o on o.group_id = m.group_id and o.member_id = m.member_id
where m.group_id = $1 and m.member_id = $2
order by o.topic, o.partition`,
};

const HEARTBEAT = { name: 'bus_heartbeat', text: 'select bus_heartbeat($1, $2) as generation' };
