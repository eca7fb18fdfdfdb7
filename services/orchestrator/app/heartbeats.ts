import type { ActivityProgressed, WorkerHeartbeat } from '#lib/contracts/generated/messages.ts';
import type { Parent } from '../domain/facts.ts';
import type { Lane } from '../domain/activity-ledger.ts';
import { heartbeat, type LeasePolicy } from '../domain/lease-keeper.ts';
import type { Announcements } from './announcements.ts';
import type { DecisionContext } from './decider.ts';
import type { ShardMemory } from './shard.ts';

/** Longer than a worker needs to take over its lane partitions and report what it started. */
const REBORN_GRACE_MS = 3_000;

/** Heartbeats of workers and attempts: they keep leases and fill projections, and never enter the log. */
export class Heartbeats {
  readonly #memory: ShardMemory;
  readonly #announce: Announcements;

  readonly #policy: LeasePolicy;

  constructor(memory: ShardMemory, announce: Announcements, policy: LeasePolicy) {
    this.#memory = memory;
    this.#policy = policy;
    this.#announce = announce;
  }

  /** `madeAtMs`: when the worker made it, by its own clock. */
  worker(context: DecisionContext, payload: WorkerHeartbeat, madeAtMs: number): void {
    if (context.dispatcher?.isOfFormerLife(payload, madeAtMs, context.nowMs) === true) return;
    const { workerId, incarnation, slots, running, partitions, deviceJson } = payload;
    const lane = payload.lane as Lane;
    context.batch.worker({
      workerId,
      incarnation,
      lane,
      slots,
      running: running.length,
      partitions,
      deviceJson,
      seenAtMs: context.nowMs,
    });
    const capacity = { workerId, incarnation, lane, slots, running, partitions };
    const reborn = context.dispatcher?.observe(capacity, context.nowMs, madeAtMs) ?? false;
    // By the time it was made: read late, it says nothing about an attempt that we heard of since.
    this.endFormerIncarnation(context, workerId, incarnation, Math.min(madeAtMs, context.nowMs));
    if (reborn) this.#hurryUnconfirmed(workerId, context.nowMs);
  }

  /** A worker process that was started anew runs nothing of its former life: no need to wait for the heartbeat timeout. */
  endFormerIncarnation(context: DecisionContext, workerId: string, incarnation: string, announcedAtMs: number): void {
    for (const lease of this.#memory.leasesOf(workerId)) {
      if (lease.startedAtMs === null || lease.incarnation === incarnation) continue;
      // An announcement older than what we heard of the attempt itself says nothing: the attempt may be the newer incarnation's.
      if (announcedAtMs <= lease.lastHeartbeatMs) continue;
      const { workflowId, activityId, epoch } = lease;
      const cell = this.#memory.get(workflowId);
      if (cell === undefined) continue;
      // The log may not be loaded yet: the next upkeep ends it, the same way as any other lost lease.
      this.#memory.setLease({ ...lease, lastHeartbeatMs: 0 });
      context.dispatcher?.release(workflowId, activityId, epoch);
    }
  }

  /**
   * Commands that the former incarnation may have taken without a word: the new one gets a moment to report them (those it had not
   * taken come to it again), then they are placed anew.
   */
  #hurryUnconfirmed(workerId: string, nowMs: number): void {
    const placedAtMs = nowMs - this.#policy.acceptTimeoutMs + REBORN_GRACE_MS;
    for (const lease of this.#memory.leasesOf(workerId))
      if (lease.startedAtMs === null && lease.placedAtMs > placedAtMs) this.#memory.setLease({ ...lease, placedAtMs });
  }

  attempt(context: DecisionContext, payload: ActivityProgressed): void {
    const { workflowId, activityId, epoch, workerId } = payload;
    const lease = this.#memory.lease(workflowId, activityId);
    if (lease?.epoch !== epoch || lease.startedAtMs === null) {
      // A zombie: its attempt was given to somebody else, or is over.
      if (lease === undefined || lease.epoch > epoch)
        context.batch.messages.push(this.#announce.stop(workflowId, activityId, epoch, 'Revoked', context.nowMs));
      return;
    }
    this.#memory.setLease(heartbeat(lease, payload.step, context.nowMs));
    const { step, stepsTotal, throughput, deviceJson } = payload;
    const device = deviceJson === null ? null : (JSON.parse(deviceJson) as unknown);
    const progress = { step, stepsTotal, throughput, workerId, device, atMs: context.nowMs };
    context.batch.progress({ workflowId, activityId, epoch, progressJson: JSON.stringify(progress) });
    const header = this.#memory.get(workflowId)?.header;
    if (header == null) return;
    const { jobId, parent } = header;
    for (const metric of payload.metrics)
      if (Number.isFinite(metric.value)) context.batch.metric({ jobId, activityId, epoch, ...metric });
    if (parent !== null) this.#report(context, parent, payload);
  }

  /** The points that a parent waits for go to it, where its search decides by them. */
  #report(context: DecisionContext, parent: Parent, { workflowId, epoch, metrics }: ActivityProgressed): void {
    const points = metrics
      .filter(({ name }) => name === parent.reports)
      .map(({ step, value }) => ({ step, value: Number.isFinite(value) ? value : null }));
    const last = points.at(-1);
    if (last === undefined) return;
    const id = `report:${workflowId}:${epoch}:${last.step}`;
    const signal = { signal: 'child.reported' as const, data: { child: parent.childId, points } };
    context.batch.messages.push(
      this.#announce.signal(parent.workflowId, signal, { id, from: workflowId }, context.nowMs),
    );
  }
}
