import { evolve } from '../domain/workflow-state.ts';
import { judge, type LeasePolicy } from '../domain/lease-keeper.ts';
import { type Cell, waitsForOthers } from './cell.ts';
import type { Decider, DecisionContext } from './decider.ts';
import type { EnginePorts } from './ports.ts';
import type { ShardMemory } from './shard.ts';

/** How often every lease and execution deadline is looked at. */
const SCAN_EVERY_MS = 100;

/** Timers fired by one turn at most: bounds the batch. */
const TIMERS_PER_TURN = 1_000;

/** What time brings about: ended leases, execution timeouts, due timers, and another try at parked workflows. */
export class Upkeep {
  readonly #ports: EnginePorts;
  readonly #memory: ShardMemory;
  readonly #decider: Decider;
  readonly #policy: LeasePolicy;
  #nextScanMs = 0;
  /** Earliest pending timer; null = none; undefined = not known, ask the database. */
  #nextTimerMs: number | null | undefined = undefined;
  /** Earliest timer that the batch before this one set: its row may not be visible yet. */
  #justSetMs: number | null = null;
  #parked: Cell[] = [];

  constructor(ports: EnginePorts, memory: ShardMemory, decider: Decider, policy: LeasePolicy) {
    this.#ports = ports;
    this.#memory = memory;
    this.#decider = decider;
    this.#policy = policy;
  }

  get nextDueMs(): number | null {
    return this.#nextTimerMs ?? null;
  }

  tookOver(parked: readonly Cell[]): void {
    this.#nextTimerMs = undefined;
    this.#parked = [...parked];
  }

  async run(context: DecisionContext): Promise<void> {
    if (this.#parked.length > 0) await this.#retryParked(context);
    if (context.nowMs >= this.#nextScanMs) {
      this.#nextScanMs = context.nowMs + SCAN_EVERY_MS;
      await this.#endLeases(context);
      await this.#endExecutions(context);
    }
    await this.#fireTimers(context);
  }

  async #endLeases(context: DecisionContext): Promise<void> {
    const ended = [...this.#memory.leases.values()].flatMap((lease) => {
      const reason = judge(lease, this.#policy, context.nowMs);
      return reason === null ? [] : [{ ...lease, reason }];
    });
    await this.#memory.load(ended.map((lease) => lease.workflowId));
    for (const { workflowId, activityId, epoch, reason, workerId } of ended) {
      const cell = this.#memory.get(workflowId);
      if (cell === undefined) continue;
      this.#memory.endLease(workflowId, activityId);
      this.#ports.log.warn({ workflowId, activityId, epoch, reason, workerId }, 'lease ended');
      const entry = cell.state?.activities[activityId];
      if (entry?.epoch !== epoch) continue;
      const fact = { type: 'LeaseEnded' as const, data: { activityId, epoch, reason } };
      this.#decider.append(context, cell, fact, `lease:${activityId}:${epoch}`);
    }
  }

  async #endExecutions(context: DecisionContext): Promise<void> {
    const late: string[] = [];
    for (const cell of this.#memory.cells())
      if (cell.status === 'open' && cell.header !== null && cell.header.deadlineAtMs <= context.nowMs)
        if (!waitsForOthers(this.#ports.registry, cell)) late.push(cell.workflowId);
    await this.#memory.load(late);
    for (const id of late) {
      const cell = this.#memory.get(id);
      if (cell?.status === 'open')
        this.#decider.append(context, cell, { type: 'ExecutionTimedOut', data: {} }, 'execution-timeout');
    }
  }

  async #fireTimers(context: DecisionContext): Promise<void> {
    const partitions = this.#memory.partitions;
    if (partitions.length === 0) return;
    const setBefore = this.#justSetMs;
    const known = earliest(await this.#knownNextTimer(partitions), setBefore);
    this.#justSetMs = context.batch.earliestTimerMs;
    this.#nextTimerMs = earliest(known, this.#justSetMs);
    if (this.#nextTimerMs === null || this.#nextTimerMs > context.nowMs) return;
    const due = await this.#ports.store.dueTimers(partitions, context.nowMs, TIMERS_PER_TURN);
    await this.#memory.load(due.map((timer) => timer.workflowId));
    for (const { workflowId, name } of due) {
      const cell = this.#memory.get(workflowId);
      const fireAtMs = cell?.state?.timers[name];
      // Set anew under its name by a batch that is being committed: the row read is the old one.
      if (fireAtMs !== undefined && fireAtMs > context.nowMs) continue;
      context.batch.removeTimer(workflowId, name);
      if (cell === undefined || fireAtMs === undefined) continue;
      this.#decider.append(context, cell, { type: 'TimerFired', data: { name } }, `timer:${name}:${fireAtMs}`);
    }
    // Asked now, past the rows that this turn removes: left for the next turn, every timer behind them waited for a whole tick
    // (p99 of lateness 107 ms instead of 50, bench timers).
    const next =
      due.length < TIMERS_PER_TURN ? await this.#ports.store.nextTimerMs(partitions, context.nowMs) : context.nowMs;
    this.#justSetMs = context.batch.earliestTimerMs;
    // The batch before may still be on its way: the query does not see what it sets.
    const unseen = setBefore !== null && setBefore > context.nowMs ? setBefore : null;
    this.#nextTimerMs = earliest(earliest(next, unseen), this.#justSetMs);
  }

  async #knownNextTimer(partitions: readonly number[]): Promise<number | null> {
    if (this.#nextTimerMs === undefined) return this.#ports.store.nextTimerMs(partitions, 0);
    return this.#nextTimerMs;
  }

  /** A release that can fold what an earlier one could not: the facts since the last good state take effect now. */
  async #retryParked(context: DecisionContext): Promise<void> {
    const parked = this.#parked;
    this.#parked = [];
    const stored = await this.#ports.store.load(parked.map((cell) => cell.workflowId));
    for (const cell of parked) {
      const workflow = stored.get(cell.workflowId);
      if (workflow === undefined) continue;
      await this.#memory.load([cell.workflowId]);
      try {
        let state = workflow.snapshot;
        const folded = workflow.facts.map(({ seq, fact, atMs }) => {
          const evolved = evolve(this.#ports.registry, cell.workflowId, state, fact, atMs);
          state = evolved.state;
          return { seq, fact, atMs, effects: evolved.effects, state: evolved.state };
        });
        cell.status = 'open';
        cell.parkedReason = null;
        this.#decider.refold(context, cell, folded);
        this.#ports.log.info({ workflowId: cell.workflowId }, 'parked workflow folds again');
      } catch (error) {
        this.#ports.log.warn({ workflowId: cell.workflowId, err: error }, 'workflow stays parked');
      }
    }
  }
}

const earliest = (a: number | null, b: number | null): number | null =>
  a === null ? b : b === null ? a : Math.min(a, b);
