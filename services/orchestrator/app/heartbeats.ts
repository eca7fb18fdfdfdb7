import type { ActivityProgressed, WorkerHeartbeat } from '#lib/contracts/generated/messages.ts';
import type { Lane } from '../domain/activity-ledger.ts';
import { heartbeat } from '../domain/lease-keeper.ts';
import type { Announcements } from './announcements.ts';
import type { DecisionContext } from './decider.ts';
import type { ShardMemory } from './shard.ts';

/** Heartbeats of workers and attempts: they keep leases and fill projections, and never enter the log. */
export class Heartbeats {
  readonly #memory: ShardMemory;
  readonly #announce: Announcements;

  constructor(memory: ShardMemory, announce: Announcements) {
    this.#memory = memory;
    this.#announce = announce;
  }

  worker(context: DecisionContext, payload: WorkerHeartbeat): void {
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
    context.dispatcher?.observe({ workerId, incarnation, lane, slots, running, partitions }, context.nowMs);
    this.#endFormerIncarnation(context, workerId, incarnation);
  }

  /** A worker process that was started anew runs nothing of its former life: no need to wait for the heartbeat timeout. */
  #endFormerIncarnation(context: DecisionContext, workerId: string, incarnation: string): void {
    for (const lease of this.#memory.leases.values()) {
      if (lease.workerId !== workerId || lease.startedAtMs === null || lease.incarnation === incarnation) continue;
      const { workflowId, activityId, epoch } = lease;
      const cell = this.#memory.get(workflowId);
      if (cell === undefined) continue;
      // The log may not be loaded yet: the next upkeep ends it, the same way as any other lost lease.
      this.#memory.setLease({ ...lease, lastHeartbeatMs: 0 });
      context.dispatcher?.release(workflowId, activityId, epoch);
    }
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
    const jobId = this.#memory.get(workflowId)?.header?.jobId;
    if (jobId === undefined) return;
    for (const metric of payload.metrics)
      if (Number.isFinite(metric.value)) context.batch.metric({ jobId, epoch, ...metric });
  }
}
